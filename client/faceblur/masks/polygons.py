"""Polygons: what of an image they touch, and what lies in them.

Both answers err on the safe side. A polygon whose edges cross each other touches what lies on the
inner side of any of its loops, but holds only what an odd number of them go round.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Polygon = npt.NDArray[np.float64]
"""[N, 2], x and y in pixels; the last corner is joined to the first."""

BoolArray = npt.NDArray[np.bool_]

_ROWS = 512
"""Rows that are worked on at a time: an image may have a hundred million pixels."""


def touched_samples(
    polygon: Polygon,
    *,
    start: tuple[int, int],
    shape: tuple[int, int],
    step: tuple[int, int] = (1, 1),
) -> BoolArray:
    """Find the samples of a plane of which a polygon covers any part, however small.

    A sample is a rectangle of pixels. It is touched if an edge passes through it, or else if its
    middle lies in the polygon.

    Args:
        polygon: In pixels of the image.
        start: x and y of the upper left corner of the first sample, in pixels.
        shape: Rows and columns of samples.
        step: Pixels across and down to a sample.

    Returns:
        bool, of that shape.
    """
    rows, columns = shape
    # In units of samples, counted from the first one.
    corners = (polygon - start) / step
    found = np.empty(shape, np.bool_)
    for top in range(0, rows, _ROWS):
        part = found[top : top + _ROWS]
        moved = corners - (0, top)
        part[:] = _winding(moved, len(part), columns) != 0
        part |= _edge_samples(moved, len(part), columns)
    return found


def holds(polygon: Polygon, boxes: npt.NDArray[Any]) -> BoolArray:
    """Find the boxes that lie in a polygon with all they have.

    Args:
        polygon: In any units.
        boxes: (N, 4) x1 y1 x2 y2 in the same units.

    Returns:
        (N,) bool. A box may touch an edge from inside.
    """
    low = boxes[:, None, :2].astype(np.float64)
    high = boxes[:, None, 2:].astype(np.float64)
    first = polygon[None]
    way = np.roll(polygon, -1, axis=0)[None] - first
    # Where along an edge it is between the box's sides (Liang and Barsky, 1984).
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = (low - first) / way, (high - first) / way
    level = way == 0
    between = (low < first) & (first < high)
    enters = np.where(level, np.where(between, -np.inf, np.inf), np.minimum(one, other))
    leaves = np.where(level, np.where(between, np.inf, -np.inf), np.maximum(one, other))
    crossed = np.maximum(enters.max(-1), 0) < np.minimum(leaves.min(-1), 1)
    middle = (low + high) / 2
    ends = first + way
    rises = (first[..., 1] <= middle[..., 1]) != (ends[..., 1] <= middle[..., 1])
    height = np.where(rises, way[..., 1], 1)
    x = first[..., 0] + way[..., 0] * (middle[..., 1] - first[..., 1]) / height
    inside = (rises & (x > middle[..., 0])).sum(-1) % 2 == 1
    return np.asarray(inside & ~crossed.any(-1))


def _winding(corners: Polygon, rows: int, columns: int) -> npt.NDArray[np.int16]:
    """How often the polygon goes round the middle of each sample."""
    turns = np.zeros((rows, columns + 1), np.int16)
    for (x0, y0), (x1, y1) in _edges(corners):
        up, low, high = (1, y0, y1) if y0 <= y1 else (-1, y1, y0)
        first, last = _clip(np.ceil(low - 0.5), rows), _clip(np.ceil(high - 0.5), rows)
        if first >= last:
            continue
        row = np.arange(first, last)
        x = x0 + (x1 - x0) * ((row + 0.5 - y0) / (y1 - y0))
        turns[row, np.clip(np.ceil(x - 0.5), 0, columns).astype(np.intp)] += np.int16(up)
    np.cumsum(turns, axis=1, out=turns)
    return turns[:, :columns]


def _edge_samples(corners: Polygon, rows: int, columns: int) -> BoolArray:
    """Samples through whose inner side an edge passes."""
    begun = np.zeros((rows, columns + 1), np.int16)
    for (x0, y0), (x1, y1) in _edges(corners):
        low, high = min(y0, y1), max(y0, y1)
        first, last = _clip(np.floor(low), rows), _clip(np.ceil(high), rows)
        if first >= last:
            continue
        row = np.arange(first, last)
        slope = (x1 - x0) / (y1 - y0) if y0 != y1 else 0.0
        ends = [
            x0 + slope * (np.clip(y, low, high) - y0) if y0 != y1 else np.full(len(row), x)
            for y, x in ((row, x0), (row + 1, x1))
        ]
        # Rounding takes no edge beyond its corners.
        ends = [np.clip(x, min(x0, x1), max(x0, x1)) for x in ends]
        left = np.clip(np.floor(np.minimum(*ends)), 0, columns).astype(np.intp)
        right = np.clip(np.ceil(np.maximum(*ends)), 0, columns).astype(np.intp)
        some = left < right
        begun[row[some], left[some]] += 1
        begun[row[some], right[some]] -= 1
    np.cumsum(begun, axis=1, out=begun)
    return np.asarray(begun[:, :columns] != 0)


def _edges(corners: Polygon) -> zip[tuple[list[float], list[float]]]:
    points = corners.tolist()
    return zip(points, points[1:] + points[:1], strict=True)


def _clip(value: float, limit: int) -> int:
    return int(min(max(value, 0), limit))
