"""The training loop: plan, render, look, compare, step; and the state that resumes it exactly."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from faceblur.detection.cores import usable_cores
from faceblur_export.network import YOLOv5Face, build
from faceblur_training.data.pack import Pack
from faceblur_training.loop.batches import Batch, Batches
from faceblur_training.loop.cpu_tuning import tune
from faceblur_training.loop.distillation import Hints, stage_ends
from faceblur_training.loop.ema import WeightAverage
from faceblur_training.loop.losses import Grid, detection_loss
from faceblur_training.loop.optimizer import MuonAdamW, clip_gradients
from faceblur_training.loop.recording import RecordedSteps, uploaded
from faceblur_training.loop.replicas import Losses, Replicas
from faceblur_training.loop.settings import Settings


class Trainer:
    """A run in memory.

    Args:
        settings: What to do.
        pack: Images.
        weights: (len(pack),) how often each image comes, any scale.
        teacher: Network to imitate, where no face is labelled and inside.
        start: Weights to start from instead of fresh ones.

    Attributes:
        step: Steps done.
        samples: Samples seen.
        loading_s: Seconds for which the network has waited for images.
        model: Raw weights.
        average: Averaged weights.
    """

    def __init__(
        self,
        settings: Settings,
        pack: Pack,
        *,
        weights: npt.NDArray[np.float64] | None = None,
        teacher: YOLOv5Face | None = None,
        start: dict[str, Tensor] | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.step = 0
        self.samples = 0
        self.loading_s = 0.0
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = build(settings.variant)
        if start is not None:
            model.load_state_dict(start)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = settings.momentum
        on_cpu = self.device.type == "cpu"
        # A slice of one sample has no batch statistics at the coarsest level.
        slices = min(settings.slices, max(1, settings.batch // 2)) if on_cpu else 1
        chances = np.ones(len(pack)) if weights is None else weights
        self._batches = Batches(pack, chances, settings, slices=slices)
        self._coming: Iterator[Batch] | None = None
        # Old GPUs have no bfloat16; float16 needs its gradients scaled to stay above zero.
        bfloat = on_cpu or torch.cuda.get_device_capability() >= (8, 0)
        self._half = torch.bfloat16 if bfloat else torch.float16
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=settings.half and not bfloat)
        self.model = model.to(self.device)
        if not on_cpu:
            # For the optimiser's matrices alone: the network runs in half precision.
            torch.set_float32_matmul_precision("high")
        self.average = WeightAverage(self.model, decay=settings.average)
        self._optimiser = MuonAdamW(self.model, rate=settings.schedule.rate)
        self._replicas = Replicas(self.model, slices)
        if on_cpu:
            torch.set_num_threads(1 if slices > 1 else torch.get_num_threads())
        hinted = settings.hint_gain > 0 or settings.forced_steps > 0
        self._hints = [
            Hints(replica, teacher.to(self.device), stage_ends(replica) if hinted else ())
            for replica in self._replicas.models
            if teacher is not None
        ]
        for network in (*self._replicas.models, *(hints.teacher for hints in self._hints)):
            tune(network)
            if settings.compile:
                network.compile(dynamic=False)
        _share(self._replicas)
        self._recorded = None
        if not on_cpu:
            self._recorded = RecordedSteps(self._whole, records=settings.record and not self.scaled)
        self._grid = Grid(self.model.anchors, tuple(self.model.strides))

    def one_step(self, *, seconds: float = 0.0) -> Losses:
        """Do one step and give its losses, learning rate, gradient norm and seconds of loading.

        On a GPU the step may still be running when this returns.

        Args:
            seconds: How long the run has trained, for a schedule by the clock.
        """
        settings = self.settings
        rate = settings.schedule.at(self.step, seconds)
        self._optimiser.dial(rate, self.step)
        self.average.dial(self.step)
        if self._recorded is None:
            values = self._update(self._replicas.run(self._slice))
        else:
            began = time.perf_counter()
            batch = self._batch(0)
            loading = time.perf_counter() - began
            forced = self.step < settings.forced_steps
            values = {**self._recorded.run(batch, forced), "loading": loading}
        self.step += 1
        self.samples += settings.batch
        self.loading_s += float(values["loading"])
        return values | {"rate": rate}

    def _whole(self, batch: Batch) -> Losses:
        """All of a step on a GPU, which may play it from a record: it must not read any tensor."""
        return self._update(
            self._replicas.run(lambda index, model: self._learn(batch, index, model))
        )

    def _update(self, parts: list[Losses]) -> Losses:
        """Move the weights by the gradients, and give the mean losses of the slices."""
        self._scaler.unscale_(self._optimiser)
        norm = clip_gradients(self.model.parameters(), self.settings.clip)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        self.average.update(self.model)
        values = {name: sum(p[name] for p in parts) / len(parts) for name in parts[0]}
        return values | {"norm": norm}

    @property
    def scaled(self) -> bool:
        """Whether steps with an endless gradient are left out, as float16 meets them."""
        return self._scaler.is_enabled()

    def state(self) -> dict[str, Any]:
        """Everything beside the averaged weights that an exact resume needs."""
        return {
            "step": self.step,
            "samples": self.samples,
            "settings": dataclasses.asdict(self.settings),
            "weights": {k: v.cpu() for k, v in self.model.state_dict().items()},
            "optimizer": self._optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def restore(self, average: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.step = int(state["step"])
        self.samples = int(state["samples"])
        with torch.no_grad():
            own = self.model.state_dict()
            for name, value in state["weights"].items():
                own[name].copy_(value)
        self.average.model.load_state_dict(average)
        self._optimiser.load_state_dict(state["optimizer"])
        self._replicas.spread_buffers()
        if state.get("scaler"):
            # Without one the run came from a device that scales no gradients.
            self._scaler.load_state_dict(state["scaler"])
        self._coming = None

    def close(self) -> None:
        """End the threads and processes."""
        self._coming = None
        self._replicas.close()

    def _batch(self, index: int) -> Batch:
        if self.device.type == "cpu":
            # Rendering takes a tenth of the time of a step: its own thread does it best.
            return self._batches.get(self.step, index)
        if self._coming is None:
            ahead = self._batches.ahead(self.step, workers=usable_cores())
            self._coming = uploaded(ahead, self.device)
        return next(self._coming)

    def _slice(self, index: int, replica: YOLOv5Face) -> Losses:
        """Render a slice of the batch, and leave its gradients in the replica."""
        began = time.perf_counter()
        batch = self._batch(index)
        loading = time.perf_counter() - began
        return {**self._learn(batch, index, replica), "loading": loading}

    def _learn(self, batch: Batch, index: int, replica: YOLOv5Face) -> Losses:
        """Leave the gradients of a batch, or a slice of one, in a replica."""
        settings = self.settings
        pixels = _network_input(batch.pixels)
        undamaged = pixels if batch.undamaged is None else _network_input(batch.undamaged)
        hints = self._hints[index] if self._hints else None
        with torch.autocast(self.device.type, self._half, enabled=settings.half):
            taught = hints.look(undamaged) if hints else None
            if hints:
                hints.forced = self.step < settings.forced_steps
            maps = replica(pixels)
        parts = detection_loss(
            [m.float() for m in maps],
            batch.faces,
            batch.images,
            self._grid,
            gains=settings.gains,
            teacher=taught,
            known=batch.known,
        )
        hint = hints.collect() if hints else None
        if hint is not None and settings.hint_gain:
            parts["hint"] = settings.hint_gain * hint
        total = torch.stack(list(parts.values())).sum()
        share = len(pixels) / settings.batch
        torch.autograd.backward(self._scaler.scale(total * share))
        return {
            **{name: value.detach() for name, value in parts.items()},
            "loss": total.detach(),
        }


def _network_input(pixels: Tensor) -> Tensor:
    """(B, H, W, 3) bytes → (B, 3, H, W) float 0–1, channels last in memory as they came."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def _share(replicas: Replicas) -> None:
    """Point the replicas at the parameters of the model again, after their layout changed."""
    replicas.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for replica in replicas.models:
        for own, shared in zip(replica.parameters(), replicas.model.parameters(), strict=True):
            own.data = shared.data
