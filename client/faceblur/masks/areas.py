"""Areas that are masked whatever is in them: polygons, on the planes of an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from faceblur.image.pixels import Array, Plane
from faceblur.masks.polygons import BoolArray, Polygon, holds, touched_samples
from faceblur.masks.regions import Region

ALIGNMENT: Final = 4
"""The coarsest step of any plane, in pixels."""

_CELLS: Final = 6
"""Of what is drawn there, across and down; none of it is made of the image."""

_Key = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Area(Region):
    """What a polygon covers of images of one size.

    Regions start and end at multiples of `ALIGNMENT`, or where the image ends. The samples of
    each kind of plane are found once.
    """

    polygon: Polygon
    _covers: dict[_Key, BoolArray | None] = field(default_factory=dict, repr=False)

    @classmethod
    def within(cls, polygon: Polygon, width: int, height: int) -> Area | None:
        """Lay a polygon over images of a size; None if it lies outside them."""
        image = np.array([width, height])
        low = np.clip(np.floor(polygon.min(axis=0) / ALIGNMENT) * ALIGNMENT, 0, image)
        high = np.clip(np.ceil(polygon.max(axis=0) / ALIGNMENT) * ALIGNMENT, 0, image)
        if (polygon.min(axis=0) >= image).any() or (polygon.max(axis=0) <= 0).any():
            return None
        (x0, y0), (x1, y1) = low.astype(int).tolist(), high.astype(int).tolist()
        area = cls(x0, y0, x1, y1, _CELLS, _CELLS, polygon)
        return area if area.pixels is None or area.pixels.any() else None

    @property
    def pixels(self) -> Array | None:
        """Which pixels between its first and last row and column are covered; None for all."""
        return self._cover(self.y1 - self.y0, self.x1 - self.x0, 1, 1)

    def cover(self, plane: Plane) -> Array | None:
        """Which samples of `view(plane)` are covered (see `Region.cover`)."""
        rows, columns = self.view(plane).shape[:2]
        return self._cover(rows, columns, plane.step_x, plane.step_y)

    @property
    def _is_full(self) -> bool:
        region = np.array([[self.x0, self.y0, self.x1, self.y1]])
        return bool(holds(self.polygon, region)[0])

    def _cover(self, rows: int, columns: int, step_x: int, step_y: int) -> Array | None:
        key = (rows, columns, step_x, step_y)
        if key not in self._covers and self._is_full:
            self._covers[key] = None
        if key not in self._covers:
            found = touched_samples(
                self.polygon,
                start=(self.x0, self.y0),
                shape=(rows, columns),
                step=(step_x, step_y),
            )
            self._covers[key] = None if found.all() else found
        return self._covers[key]
