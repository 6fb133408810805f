"""The background of a whole file, from frames spread over it."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.moving.background import FIRST_DEVIATION, FloatMap
from faceblur.moving.light import GRID, shift_of_light
from faceblur.moving.sight import Bitmap, Sight, SightSize

BoolMap = npt.NDArray[np.bool_]

SAMPLES: Final = 48
"""Frames that the background is made of, at most; at least half as many of a longer file."""

_QUARTERS: Final = 4
_IN_QUARTERS: Final = 3
"""Of the file's quarters, so many must show a value: who stands somewhere for half of the file,
and the ground that shows for the other half, are both not known then."""
_SAME: Final = 10
"""Levels by which the same thing may differ from sample to sample."""
_ENOUGH: Final = 8
"""Samples that say anything of quarters."""


class Samples:
    """Keeps frames evenly spread over a file whose length nobody knows before its end."""

    def __init__(self) -> None:
        self._every = 1
        self._count = 0
        self.sights: list[Sight] = []

    def wants_next(self) -> bool:
        """Count the next frame; whether it is one to be added."""
        wanted = self._count % self._every == 0
        self._count += 1
        return wanted

    def add(self, sight: Sight) -> None:
        """Keep a frame."""
        self.sights.append(sight)
        if len(self.sights) > SAMPLES:
            del self.sights[1::2]
            self._every *= 2


class _Votes:
    """How often each value of each pixel is seen, over all samples or some."""

    def __init__(self, samples: list[Sight], size: SightSize) -> None:
        self._samples = samples
        self._height = size.height
        self._quarters = np.array_split(np.arange(len(samples)), _QUARTERS)

    def winner(self, voters: npt.NDArray[np.intp]) -> tuple[Sight, BoolMap]:
        """The value most voters have, and where enough quarters of the file show it."""
        samples = self._samples
        best: Sight = samples[0].copy()
        most = np.zeros((self._height, best.shape[1]), np.uint8)
        for candidate in voters.tolist():
            count = np.zeros_like(most)
            for voter in voters.tolist():
                count += self.alike(samples[candidate], samples[voter])
            better = np.asarray(cv2.compare(count, most, cv2.CMP_GT), np.uint8)
            cv2.copyTo(count, better, most)
            cv2.copyTo(samples[candidate], cv2.vconcat([better] * 3), best)
        seen = np.zeros_like(most)
        for quarter in self._quarters:
            alike = [self.alike(samples[i], best) for i in quarter.tolist()]
            seen += np.any(alike, axis=0)
        return best, seen >= _IN_QUARTERS

    def alike(self, first: Sight, second: Sight) -> npt.NDArray[np.uint8]:
        """1 where two sights show the same, else 0."""
        height = self._height
        distance = cv2.absdiff(first, second)
        near = np.asarray(cv2.threshold(distance, _SAME, 1, cv2.THRESH_BINARY_INV)[1], np.uint8)
        same: npt.NDArray[np.uint8] = near[:height] & near[height : 2 * height] & near[2 * height :]
        return same


def _in_light_of(value: FloatMap, samples: list[Sight], size: SightSize) -> list[Sight] | None:
    """As if all had the exposure of the background; None if they have it."""
    height = size.height
    middle = value[:height:GRID, ::GRID].ravel()
    aligned = []
    for sight in samples:
        grid = sight[:height:GRID, ::GRID].astype(np.float32).ravel()
        shift = shift_of_light(grid, middle, same=_SAME)
        if shift is not None:
            table = np.clip(np.rint(np.arange(256) + shift), 0, 255).astype(np.uint8)
            aligned.append(np.vstack([table[sight[:height]], sight[height:]]))
        else:
            aligned.append(sight)
    if all(new is old for new, old in zip(aligned, samples, strict=True)):
        return None
    return aligned


def background_of(
    samples: list[Sight], size: SightSize
) -> tuple[FloatMap, FloatMap, Bitmap] | None:
    """Find the background of a file from samples of it.

    It is the commonest value of each pixel in the quieter half of the samples: those that differ
    least from the commonest of all. Not the median, for where people stand most of the time, one
    after the other, the ground is hardly ever in the middle of what is seen.

    Args:
        samples: Spread evenly over the file.
        size: Of each.

    Returns:
        Values, their mean deviations, and where they can be trusted; None with too few samples.
    """
    if len(samples) < _ENOUGH:
        return None
    value, deviation, known = _commonest(samples, size)
    aligned = None if known.all() else _in_light_of(value, samples, size)
    if aligned is not None:
        # A camera may change its exposure for half of a file, and nothing then stays the same.
        others = _commonest(aligned, size)
        late = others[2] & ~known
        places = np.vstack([late] * 3)
        value[places], deviation[places] = others[0][places], others[1][places]
        known |= late
    trusted: Bitmap = np.uint8(255) * known.astype(np.uint8)
    return value, np.maximum(deviation, np.float32(FIRST_DEVIATION)), trusted


def _commonest(samples: list[Sight], size: SightSize) -> tuple[FloatMap, FloatMap, BoolMap]:
    votes = _Votes(samples, size)
    best, _ = votes.winner(np.arange(len(samples)))
    quiet = np.argsort([-int(votes.alike(sight, best).sum()) for sight in samples], kind="stable")
    voters = np.sort(quiet[: max(_ENOUGH // 2, len(samples) // 2)])
    best, known = votes.winner(voters)
    total = np.zeros(best.shape, np.float32)
    away = np.zeros(best.shape, np.float32)
    times = np.zeros(best.shape, np.float32)
    for index in voters.tolist():
        places = cv2.vconcat([votes.alike(samples[index], best)] * 3)
        cv2.accumulate(samples[index], total, places)
        cv2.accumulate(cv2.absdiff(samples[index], best), away, places)
        times += places
    times = np.maximum(times, 1)
    return total / times, away / times, known
