"""A step must not read anything back: on a GPU each reading waits until all work is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from faceblur_export.network import build
from faceblur_training.loop.distillation import Hints, stage_ends
from faceblur_training.loop.recipe import settings_for
from faceblur_training.loop.trainer import Trainer

aten = torch.ops.aten

# Operations whose result has a size that only the data tells, or that is a Python number.
WAITING = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2, aten.equal}


class WaitedError(Exception):
    pass


class NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        masks = func.overloadpacket in (aten.index, aten.index_put, aten.index_put_) and any(
            i is not None and i.dtype == torch.bool for i in args[1]
        )
        if masks or func.overloadpacket in WAITING:
            raise WaitedError(str(func))
        return func(*args, **(kwargs or {}))


@contextmanager
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def wait(self: Tensor, *_: object) -> None:
        raise WaitedError("read")

    with monkeypatch.context() as patch, NoWaiting():
        for name in ("item", "tolist", "numpy", "cpu", "nonzero", "__bool__"):
            patch.setattr(Tensor, name, wait)
        yield


@pytest.mark.parametrize(
    "reads",
    [
        float,
        bool,
        lambda t: t.tolist(),
        lambda t: t.view(1)[t.view(1) > 0],
        lambda t: (t > 0).nonzero(),
        lambda t: torch.where(t.view(1) > 0),
        lambda t: "waits" if t > 0 else "waits too",
    ],
)
def test_reading_would_be_caught(
    reads: Callable[[Tensor], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WaitedError), no_waiting(monkeypatch):
        reads(torch.ones(()))


def test_a_step_reads_nothing_back(make_pack, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 255, (80, 100, 3), np.uint8) for _ in range(2)]
    pack = make_pack(images, [[[10.0, 10.0, 50.0, 60.0]]] * 2)
    settings = settings_for("yolov5n-0.5", steps=4, batch=2, taught=True)
    settings = dataclasses.replace(settings, sides=(64,), slices=1)
    trainer = Trainer(settings, pack, teacher=build("yolov5n-0.5").eval())
    # As a GPU gets them: rendered by others, ahead of the step.
    batches = [trainer._batches.get(step) for step in range(2)]
    monkeypatch.setattr(trainer, "_batch", lambda index: batches[trainer.step])
    with no_waiting(monkeypatch):
        values = [trainer.one_step() for _ in batches]
    assert all(np.isfinite(float(step["loss"])) for step in values)
    assert float(values[0]["box"]) > 0
    trainer.close()


def test_the_networks_compile_in_one_piece() -> None:
    """Each break of the graph is a return to Python, in every step."""
    student = build("yolov5n-0.5").train()
    hints = Hints(student, build("yolov5n-0.5").eval(), stage_ends(student))
    pixels = torch.rand(2, 3, 64, 64)
    hints.look(pixels)
    torch.compile(student, backend="eager", fullgraph=True)(pixels)
    assert hints.collect() > 0
