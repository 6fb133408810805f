"""Steps played from records are the steps that would have run, and others run as they are.

Without a GPU: a stand-in for CUDA's graphs calls what was recorded again.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor

from faceblur_export.network import build
from faceblur_training.loop import recording
from faceblur_training.loop.recipe import settings_for
from faceblur_training.loop.recording import RecordedSteps
from faceblur_training.loop.trainer import Trainer


class Stream:
    def wait_stream(self, other: object) -> None:
        pass


class Cuda:
    """What `recording` takes of `torch.cuda`."""

    Stream = Stream

    def __init__(self, *, refuses: str = "") -> None:
        self.refuses = refuses
        self.captures = self.replays = 0
        self.work = None

    def current_stream(self) -> Stream:
        return Stream()

    def stream(self, _stream: Stream):
        return nullcontext()

    def graph_pool_handle(self) -> int:
        return 0

    def CUDAGraph(self):  # noqa: N802
        return Graph(self)

    @contextmanager
    def graph(self, graph: Graph, **_options):
        if self.refuses:
            try:
                raise RuntimeError(self.refuses)
            finally:  # as CUDA's own: what ended a record is followed by that it was ended
                raise RuntimeError("operation failed due to a previous error during capture")
        # Each kernel has met the sizes that it is recorded with.
        assert self.work.seen[-1] == recording.FACES_PER_SAMPLE * 2
        self.captures += 1
        graph.learned = self.work.state()
        yield
        # A capture runs nothing: take back what Python did meanwhile.
        graph.memory = self.work.losses
        self.work.back_to(graph.learned)


class Graph:
    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda

    def replay(self) -> None:
        self.cuda.replays += 1
        record = next(r for r in self.cuda.steps._records.values() if r.graph is self)
        values = self.cuda.work(record.batch)
        record.losses.copy_(torch.stack(list(values.values())))


class Work:
    """The whole step of a trainer, and its state before."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.losses: dict[str, Tensor] = {}
        self.seen: list[int] = []

    def __call__(self, batch):
        self.seen.append(len(batch.faces))
        self.losses = self.trainer._whole(batch)
        return self.losses

    def tensors(self) -> list[Tensor]:
        states = self.trainer._optimiser.state.values()
        return [
            *self.trainer.model.state_dict().values(),
            *self.trainer.average.model.state_dict().values(),
            *(value for state in states for value in state.values()),
        ]

    def state(self) -> list[Tensor]:
        return [tensor.detach().clone() for tensor in self.tensors()]

    @torch.no_grad()
    def back_to(self, state: list[Tensor]) -> None:
        for tensor, before in zip(self.tensors(), state, strict=True):
            tensor.copy_(before)


@pytest.fixture
def trained(make_pack, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 255, (80, 100, 3), np.uint8) for _ in range(4)]
    pack = make_pack(images, [[[10.0, 10.0, 50.0, 60.0]]] * 4)
    settings = settings_for("yolov5n-0.5", steps=20, batch=2, taught=True)
    settings = dataclasses.replace(settings, sides=(64, 96), slices=1, forced_steps=0)
    torch.manual_seed(3)
    teacher = build("yolov5n-0.5").eval()

    def train(cuda: Cuda | None, *, room: int = 64, steps: int = 10):
        trainer = Trainer(settings, pack, teacher=teacher)
        if cuda is not None:
            monkeypatch.setattr(recording.torch, "cuda", cuda)
            monkeypatch.setattr(recording, "FACES_PER_SAMPLE", room)
            cuda.work = Work(trainer)
            cuda.steps = trainer._recorded = RecordedSteps(cuda.work, records=True)
        losses = [trainer.one_step() for _ in range(steps)]
        monkeypatch.undo()
        trainer.close()
        return trainer, [{name: float(value) for name, value in step.items()} for step in losses]

    return train


def distance(one: Trainer, other: Trainer) -> float:
    """How far two trainings ended apart, as a part of the weights."""
    pairs = list(zip(one.model.parameters(), other.model.parameters(), strict=True))
    apart = torch.stack([(a - b).detach().square().sum() for a, b in pairs]).sum()
    return float((apart / torch.stack([a.detach().square().sum() for a, _ in pairs]).sum()).sqrt())


def test_played_steps_are_those_that_would_have_run(trained) -> None:
    plain, expected = trained(None)
    cuda = Cuda()
    played, got = trained(cuda)
    assert cuda.captures == 2  # one for each size
    assert cuda.replays == 10 - 2 * recording.RUNS_BEFORE
    for name in ("loss", "box", "obj", "norm", "rate"):
        assert [step[name] for step in got] == pytest.approx(
            [step[name] for step in expected], rel=0.02
        ), name
    assert distance(plain, played) < 0.005


def test_steps_with_more_faces_than_there_is_room_for_run_as_they_are(trained) -> None:
    cuda = Cuda()
    _, losses = trained(cuda, room=-1)
    assert cuda.replays == 0
    assert all(np.isfinite(step["loss"]) for step in losses)


def test_a_gpu_that_cannot_record_says_so_once(trained, caplog) -> None:
    _, losses = trained(Cuda(refuses="operation not permitted when stream is capturing"))
    assert len(losses) == 10
    assert [record.message for record in caplog.records] == [
        "steps cannot be recorded on this GPU (operation not permitted when stream is capturing); "
        "they run as they are"
    ]
