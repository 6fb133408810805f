"""Samples in the order of the run, put together into tensors, ahead of time where that helps."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from faceblur_training import augment
from faceblur_training.pack import Pack
from faceblur_training.settings import Settings


@dataclass(frozen=True)
class Batch:
    """Samples as tensors.

    Attributes:
        pixels: (B, side, side, 3) uint8 RGB.
        faces: (N, 15) float32, faces of all samples as in a pack, sample pixels.
        images: (N,) int64, the sample each face lies in.
        known: (B, side/8, side/8) bool, cells where a person listed the faces.
    """

    pixels: Tensor
    faces: Tensor
    images: Tensor
    known: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        parts = (self.pixels, self.faces, self.images, self.known)
        if device.type == "cuda":
            parts = tuple(part.pin_memory() for part in parts)  # type: ignore[assignment]
        return Batch(*(part.to(device, non_blocking=True) for part in parts))


class Batches:
    """Makes the batch, or a slice of the batch, of any step of a run.

    Which samples a step has follows from its number and the seed alone. With `ahead`, threads
    render the next steps while the device works on this one.

    Args:
        pack: Pictures.
        weights: (len(pack),) how often each picture comes, any scale.
        settings: Seed, sizes and strength of the augmentation.
        slices: Parts of a batch that are asked for separately.
        ahead: Steps to prepare in advance; 0 renders in the thread that asks.
    """

    def __init__(
        self,
        pack: Pack,
        weights: npt.NDArray[np.float64],
        settings: Settings,
        *,
        slices: int = 1,
        ahead: int = 0,
    ) -> None:
        cv2.setNumThreads(1)
        self._pack = pack
        self._settings = settings
        self._cumulative = np.cumsum(weights) / weights.sum()
        self._slices = slices
        self._ahead = ahead
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1) if ahead else None
        self._coming: dict[int, list[Future[augment.Sample]]] = {}

    def get(self, step: int, index: int = 0) -> Batch:
        """Slice `index` of the batch of a step."""
        size = self._settings.batch
        places = range(index * size // self._slices, (index + 1) * size // self._slices)
        if self._pool is None:
            return collate([self._render(step, place) for place in places])
        for number in range(step, step + self._ahead + 1):
            if number not in self._coming:
                self._coming[number] = [
                    self._pool.submit(self._render, number, place) for place in places
                ]
        return collate([future.result() for future in self._coming.pop(step)])

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _render(self, step: int, place: int) -> augment.Sample:
        settings = self._settings
        rng = np.random.default_rng([settings.seed, 1, step])
        config = dataclasses.replace(settings.augment, side=int(rng.choice(settings.sides)))
        plan = augment.plan_sample(
            self._pack,
            step * settings.batch + place,
            seed=settings.seed,
            config=config,
            weights=self._cumulative,
        )
        return augment.render(self._pack, plan)


def collate(samples: list[augment.Sample]) -> Batch:
    """Stack samples of one size."""
    numbers = np.repeat(np.arange(len(samples)), [len(s.faces) for s in samples])
    return Batch(
        torch.from_numpy(np.stack([s.image for s in samples])),
        torch.from_numpy(np.concatenate([s.faces for s in samples])),
        torch.from_numpy(numbers),
        torch.from_numpy(np.stack([s.known for s in samples])),
    )
