"""Samples in the order of the run, put together into tensors, ahead of time where that helps."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from faceblur_training.augmentation.plan import plan_sample
from faceblur_training.augmentation.sample import Sample, render
from faceblur_training.data.pack import Pack
from faceblur_training.loop.settings import Settings


@dataclass(frozen=True)
class Batch:
    """Samples as tensors.

    Attributes:
        pixels: (B, side, side, 3) uint8 RGB.
        undamaged: The same before the damage, if the teacher is to see that.
        faces: (N, 15) float32, faces of all samples as in a pack, sample pixels.
        images: (N,) int64, the sample each face lies in.
        known: (B, side/8, side/8) bool, cells where a person listed the faces.
    """

    pixels: Tensor
    undamaged: Tensor | None
    faces: Tensor
    images: Tensor
    known: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return self._each(lambda part: part.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same in memory that a GPU can fetch by itself; the loader calls this."""
        return self._each(lambda part: part.pin_memory())

    def padded(self, faces: int) -> Batch:
        """A copy with so many faces, of which those that are added count for nothing."""
        more = faces - len(self.faces)
        # Spread over the samples: a GPU adds up slowly what goes to one place.
        images = torch.arange(more, device=self.images.device) % len(self.pixels)
        room = replace(
            self,
            faces=torch.cat((self.faces, self.faces.new_zeros(more, self.faces.shape[1]))),
            images=torch.cat((self.images, images)),
        )
        return room._each(torch.clone)

    def fill(self, other: Batch) -> None:
        """Take the values of another batch of the same size, which has no more faces."""
        count = len(other.faces)
        for own, source in zip(self.parts(), other.parts(), strict=True):
            own[: len(source)].copy_(source, non_blocking=True)
        self.faces[count:].zero_()

    def parts(self) -> list[Tensor]:
        """All its tensors."""
        parts = (self.pixels, self.undamaged, self.faces, self.images, self.known)
        return [part for part in parts if part is not None]

    def _each(self, moved: Callable[[Tensor], Tensor]) -> Batch:
        undamaged = None if self.undamaged is None else moved(self.undamaged)
        others = (moved(part) for part in (self.faces, self.images, self.known))
        return Batch(moved(self.pixels), undamaged, *others)


class Batches(Dataset[Batch]):
    """The batch, or a slice of the batch, of every step of a run.

    Which samples a step has follows from its number and the seed alone.

    Args:
        pack: Images.
        weights: (len(pack),) how often each image comes, any scale.
        settings: Seed, sizes and strength of the augmentation.
        slices: Parts of a batch that are asked for separately.
    """

    def __init__(
        self,
        pack: Pack,
        weights: npt.NDArray[np.float64],
        settings: Settings,
        *,
        slices: int = 1,
    ) -> None:
        cv2.setNumThreads(1)
        self._pack = pack
        self._settings = settings
        self._cumulative = np.cumsum(weights) / weights.sum()
        self._slices = slices

    def __getitem__(self, step: int) -> Batch:
        return self.get(step)

    def get(self, step: int, index: int = 0) -> Batch:
        """Render slice `index` of the batch of a step."""
        size = self._settings.batch
        places = range(index * size // self._slices, (index + 1) * size // self._slices)
        samples = [self._render(step, place) for place in places]
        return collate(samples, undamaged=self._settings.undamaged_teacher)

    def ahead(self, first: int, *, workers: int) -> Iterator[Batch]:
        """Whole batches from step `first` on, rendered in other processes.

        Args:
            first: Step of the first batch.
            workers: Processes.
        """
        yield from DataLoader(
            self,
            batch_size=None,
            sampler=range(first, self._settings.schedule.steps),
            num_workers=workers,
            prefetch_factor=2,
            worker_init_fn=_prepare_worker,
            pin_memory=torch.cuda.is_available(),
        )

    def _render(self, step: int, place: int) -> Sample:
        settings = self._settings
        rng = np.random.default_rng([settings.seed, 1, step])
        config = dataclasses.replace(settings.augment, side=int(rng.choice(settings.sides)))
        plan = plan_sample(
            self._pack,
            step * settings.batch + place,
            seed=settings.seed,
            config=config,
            weights=self._cumulative,
        )
        return render(self._pack, plan)


def _prepare_worker(_number: int) -> None:
    """Use one thread, and let the run end its workers: Ctrl-C reaches all processes at once."""
    cv2.setNumThreads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def collate(samples: list[Sample], *, undamaged: bool) -> Batch:
    """Stack samples of one size; those before the damage are kept where a teacher wants them."""
    numbers = np.repeat(np.arange(len(samples)), [len(s.faces) for s in samples])
    return Batch(
        torch.from_numpy(np.stack([s.image for s in samples])),
        torch.from_numpy(np.stack([s.undamaged for s in samples])) if undamaged else None,
        torch.from_numpy(np.concatenate([s.faces for s in samples])),
        torch.from_numpy(numbers),
        torch.from_numpy(np.stack([s.known for s in samples])),
    )
