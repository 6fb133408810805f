"""Where masks lie: from face boxes to the samples of a plane that are covered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur.image.pixels import Array, Plane
from faceblur.masks.ellipses import TurnedEllipse, turned_ellipses
from faceblur.masks.style import MaskShape, MaskStyle
from faceblur.masks.surface import Surface

MIN_CELL_PX = 3
"""Pixels of the image to a cell, at least: a cell of one pixel would be that pixel."""

FLAT_BELOW_PX = 6
"""A box smaller than this on both sides is covered in one colour."""

_ROUNDED_UP = np.float32(1 + 1e-6)
"""1, and what float32 may lose of it."""


@dataclass(frozen=True)
class Region:
    """A part of the image that is drawn on, in its pixels.

    Attributes:
        x0: First column that is drawn on; like the next three, within the image.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    columns: int
    rows: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is drawn on."""
        return self.x1 - self.x0, self.y1 - self.y0

    def view(self, plane: Plane) -> Array:
        """The region's samples of a plane."""
        return plane.pixels[
            self.y0 // plane.step_y : -(-self.y1 // plane.step_y),
            self.x0 // plane.step_x : -(-self.x1 // plane.step_x),
        ]

    def grid(self, view: Array) -> tuple[int, int]:
        """Columns and rows of cells on a plane: each takes several samples of it."""
        height, width = view.shape[:2]
        return max(1, min(self.columns, width // 2)), max(1, min(self.rows, height // 2))

    def cover(self, plane: Plane) -> Array | None:  # noqa: ARG002
        """Which samples of `view(plane)` are covered.

        A sample is covered when the shape touches any part of the pixels it stands for.

        Returns:
            None for all of them, bool, or float32 in 0–1 where there is a soft edge.
        """
        return None


@dataclass(frozen=True)
class FaceRegion(Region):
    """Where one face is covered.

    Attributes:
        half: Half the width and half the height of the shape.
        turned: For a face that leans, the ellipse that leans with it and is covered too.
        feather: Width of the soft edge around it, as a fraction of its half size.
    """

    centre: tuple[float, float]
    half: tuple[float, float]
    turned: TurnedEllipse | None
    shape: MaskShape
    feather: float

    def cover(self, plane: Plane) -> Array | None:
        """Which samples of `view(plane)` are covered (see `Region.cover`)."""
        if self.shape == "box" and self.feather == 0:
            return None
        height, width = self.view(plane).shape[:2]
        x = _distances(self.x0, width, plane.step_x, self.centre[0], self.half[0])
        y = _distances(self.y0, height, plane.step_y, self.centre[1], self.half[1])
        if self.feather == 0:
            # Compared as they are: a sum for each sample would be four times as much memory.
            inside: Array = np.greater_equal.outer(_ROUNDED_UP - y * y, x * x)
            if self.turned is not None:
                squares, less = self._turned_squares(plane, self.turned, (height, width))
                inside |= squares <= (1 + less) ** 2
            return inside
        radius: Array
        radius = np.hypot.outer(y, x) if self.shape == "ellipse" else np.maximum.outer(y, x)
        if self.turned is not None:
            squares, less = self._turned_squares(plane, self.turned, (height, width))
            radius = np.minimum(radius, np.sqrt(np.maximum(squares, 0)) - np.float32(less))
        soft: Array = np.clip(1 - (radius - 1) / self.feather, 0, 1)
        return soft

    def _turned_squares(
        self, plane: Plane, turned: TurnedEllipse, shape: tuple[int, int]
    ) -> tuple[npt.NDArray[np.float32], float]:
        offset = self.x0 - self.centre[0], self.y0 - self.centre[1]
        return turned.squares(offset, shape, (plane.step_x, plane.step_y))


def steps(surface: Surface) -> tuple[int, int]:
    """Columns and rows of the image to a sample of the coarsest plane."""
    return (
        max(plane.step_x for plane in surface.planes),
        max(plane.step_y for plane in surface.planes),
    )


def plan_regions(
    surface: Surface, detections: Detections, style: MaskStyle
) -> Sequence[FaceRegion]:
    """Find what to cover, smallest face first.

    Regions start and end at multiples of the coarsest plane's steps, rounded outwards. Cells are
    square and sized by the longer side of the whole shape, whether or not it lies within the
    image.

    Args:
        surface: What is drawn on.
        detections: Faces in pixels of the surface. Those outside it are left out.
        style: What covers a face. An ellipse leans with the face, as far as the landmarks tell,
            and covers what the upright one does, too.

    Raises:
        InputError: A box is not finite or its corners are swapped.
    """
    boxes = detections.boxes.astype(np.float64)
    if not np.isfinite(boxes).all():
        raise InputError("a face box holds a number that is not finite: nothing was masked")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise InputError("a face box ends before it starts: nothing was masked")
    size = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    halves = np.maximum(size * (0.5 + style.expand), 0.5)
    turned: list[TurnedEllipse | None] = [None] * len(boxes)
    extent = halves
    if style.shape == "ellipse":
        turned = turned_ellipses(detections, expand=style.expand)
        if any(turned):
            extent = np.array(
                [
                    half if ellipse is None else np.maximum(half, ellipse.extent)
                    for half, ellipse in zip(halves, turned, strict=True)
                ]
            )
    reach = extent * (1 + style.feather)
    step = np.array(steps(surface))
    image = np.array([surface.width, surface.height])
    low = np.clip(np.floor((centres - reach) / step) * step, 0, image)
    high = np.clip(np.ceil((centres + reach) / step) * step, 0, image)
    cell = np.maximum(2 * reach.max(axis=1, initial=0) / style.cells, MIN_CELL_PX)
    cell[size.max(axis=1, initial=0) < FLAT_BELOW_PX] = math.inf
    grid = np.clip((high - low) // cell[:, None], 1, style.cells)
    order = np.argsort(halves.prod(axis=1), kind="stable")
    shown = order[(high > low).all(axis=1)[order]]
    places = np.concatenate([low, high, grid], axis=1)[shown].astype(int).tolist()
    shapes = np.concatenate([centres, halves], axis=1)[shown].tolist()
    return [
        FaceRegion(
            x0=x0,
            y0=y0,
            x1=x1,
            y1=y1,
            columns=columns,
            rows=rows,
            centre=(x, y),
            half=(half_x, half_y),
            turned=turned[face],
            shape=style.shape,
            feather=style.feather,
        )
        for face, (x0, y0, x1, y1, columns, rows), (x, y, half_x, half_y) in zip(
            shown.tolist(), places, shapes, strict=True
        )
    ]


def _distances(
    start: int, count: int, step: int, centre: float, half: float
) -> npt.NDArray[np.float32]:
    """Distance of each sample's nearest point from the centre, in half sizes of the shape."""
    middle = np.arange(count, dtype=np.float32) * step + np.float32(start + step / 2 - centre)
    nearest = np.maximum(np.abs(middle) - np.float32(step / 2), np.float32(0))
    distances: npt.NDArray[np.float32] = nearest / np.float32(half)
    return distances
