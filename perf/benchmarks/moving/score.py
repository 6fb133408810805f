"""Compare what was masked with who is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bitmap = npt.NDArray[np.bool_]

_COVERED: float = 0.9
"""Of somebody's pixels: they count as covered from then on."""


class Mask(NamedTuple):
    """What is masked of a frame, at its size.

    Attributes:
        masked: All of it.
        unlearnt: Of that, because the background is not known there, or all of the view changed.
    """

    masked: Bitmap
    unlearnt: Bitmap


@dataclass
class Score:
    """What a way of masking did in one clip.

    Attributes:
        people: Pixels of people, of which `masked` were masked.
        ground: Pixels of the rest, of which `blemish` were masked, whatever else was there.
        empty_ground: The same of frames with nobody in them.
        unlearnt: Of both blemishes, where the background is not known, or none of the view is.
        worst: The lowest share of people masked in any frame.
        uncovered: Frames in which people were there and less than 9/10 of them masked.
        frames: Frames with people.
    """

    people: int = 0
    masked: int = 0
    ground: int = 0
    blemish: int = 0
    empty_ground: int = 0
    empty_blemish: int = 0
    unlearnt: int = 0
    worst: float = 1.0
    uncovered: int = 0
    frames: int = 0
    leaks: list[int] = field(default_factory=list)

    def add(self, index: int, people: Bitmap, mask: Mask) -> None:
        """Count a frame."""
        inside = int(np.count_nonzero(people))
        covered = int(np.count_nonzero(people & mask.masked))
        outside = people.size - inside
        extra = int(np.count_nonzero(mask.masked)) - covered
        self.unlearnt += int(np.count_nonzero(mask.unlearnt & ~people))
        if not inside:
            self.empty_ground += outside
            self.empty_blemish += extra
            return
        self.frames += 1
        self.people += inside
        self.masked += covered
        self.ground += outside
        self.blemish += extra
        self.worst = min(self.worst, covered / inside)
        if covered < _COVERED * inside:
            self.uncovered += 1
            self.leaks.append(index)

    def row(self) -> dict[str, float | int | list[int]]:
        """For a report."""
        return {
            "frames": self.frames,
            "people_masked": self.masked / max(1, self.people),
            "worst_frame": self.worst,
            "frames_uncovered": self.uncovered,
            "ground_masked": self.blemish / max(1, self.ground),
            "empty_masked": self.empty_blemish / max(1, self.empty_ground),
            "still_masked": (self.blemish + self.empty_blemish)
            / max(1, self.ground + self.empty_ground),
            "unlearnt": self.unlearnt / max(1, self.ground + self.empty_ground),
            "leaks": self.leaks[:20],
        }
