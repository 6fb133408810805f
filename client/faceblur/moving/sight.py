"""Frames as the background sees them: small, three planes below one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.image.pixels import Plane

Sight = npt.NDArray[np.uint8]
"""(3 · height, width) uint8: a plane below the other, all of one size."""

Bitmap = npt.NDArray[np.uint8]
"""(height, width) uint8, 0 or 255."""

LONGEST: Final = 640
"""Pixels of the longer side, at most."""

_SMOOTH: Final = (3, 3)
"""Averages out what is left of the noise."""


def above(values: npt.NDArray[np.uint8], level: float) -> Bitmap:
    """Where values are larger than a level."""
    return np.asarray(cv2.threshold(values, level, 255, cv2.THRESH_BINARY)[1], np.uint8)


@dataclass(frozen=True)
class SightSize:
    """How large the sights of frames are, pixels."""

    width: int
    height: int

    @classmethod
    def of(cls, width: int, height: int) -> SightSize:
        """The size for frames of a given one; no frame is enlarged."""
        scale = min(1.0, LONGEST / max(width, height))
        return cls(max(1, round(width * scale)), max(1, round(height * scale)))

    @property
    def area(self) -> int:
        """Pixels."""
        return self.width * self.height

    def look(self, planes: Sequence[Plane], *, peak: int = 255) -> Sight:
        """Reduce the planes of a frame.

        Args:
            planes: Y, U, V or any other three, or one alone; nothing is written to them.
            peak: The largest value of a sample.
        """
        size = (self.width, self.height)
        sight: Sight = np.empty((3 * self.height, self.width), np.uint8)
        for index in range(3):
            samples = planes[index if index < len(planes) else 0].pixels
            small = cv2.resize(samples, size, interpolation=cv2.INTER_AREA)
            if small.dtype != np.uint8:
                small = cv2.convertScaleAbs(small, alpha=255 / peak)
            target = sight[index * self.height : (index + 1) * self.height]
            cv2.blur(small, _SMOOTH, dst=target)
        return sight
