"""What moves, as regions to cover: bitmaps of any size laid over an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.image.pixels import Array, Plane
from faceblur.masks.areas import ALIGNMENT
from faceblur.masks.regions import Region

_CELLS: Final = 6


class _Stretched:
    """A bitmap at the size of each plane, computed once."""

    def __init__(self, bitmap: npt.NDArray[np.uint8]) -> None:
        self._bitmap = bitmap
        self._sizes: dict[tuple[int, int], Array] = {}

    def over(self, plane: Plane) -> Array:
        """Which samples are covered, rounded outwards."""
        rows, columns = plane.pixels.shape[:2]
        if (rows, columns) not in self._sizes:
            shrinks = rows < self._bitmap.shape[0] or columns < self._bitmap.shape[1]
            how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            # Whatever is touched counts, if by the smallest part of a level.
            stretched = cv2.resize(self._bitmap, (columns, rows), interpolation=how)
            self._sizes[rows, columns] = stretched > 0
        return self._sizes[rows, columns]


@dataclass(frozen=True, eq=False)
class Silhouette(Region):
    """One thing that moves."""

    stretched: _Stretched

    def cover(self, plane: Plane) -> Array:
        """Which samples of `view(plane)` are covered (see `Region.cover`)."""
        covered: Array = self.view(Plane(self.stretched.over(plane), plane.step_x, plane.step_y))
        return covered


def silhouettes(bitmap: npt.NDArray[np.uint8], width: int, height: int) -> Iterator[Silhouette]:
    """The separate shapes of a bitmap.

    Args:
        bitmap: (h, w), 255 where something is to be covered, else 0; all of the image.
        width: Of the image, pixels.
        height: Of the image, pixels.
    """
    stretched = _Stretched(bitmap)
    rows, columns = bitmap.shape
    scale = np.array([width / columns, height / rows, width / columns, height / rows])
    count, _, stats, _ = cv2.connectedComponentsWithStats(bitmap, connectivity=8)
    for left, top, wide, high, _ in stats[1:count].tolist():
        # A pixel more on each side: stretching reaches so far.
        box = np.array([left - 1, top - 1, left + wide + 1, top + high + 1]) * scale
        low = np.floor(box[:2] / ALIGNMENT) * ALIGNMENT
        high_ = np.ceil(box[2:] / ALIGNMENT) * ALIGNMENT
        (x0, y0), (x1, y1) = (np.clip(at, 0, (width, height)).astype(int) for at in (low, high_))
        yield Silhouette(int(x0), int(y0), int(x1), int(y1), _CELLS, _CELLS, stretched)
