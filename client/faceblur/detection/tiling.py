"""Detect a large image in parts, so that small faces in it are large enough for the network.

The image is seen whole, and then in overlapping tiles at one or more finer levels. Neighbouring
levels differ by a factor of at most `MAX_LEVEL_RATIO`: a face that is too large to lie wholly in
some tile of a level is still well visible at the next coarser one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from faceblur.boxes import box_iou, box_overlap
from faceblur.detection.options import Tiles
from faceblur.detections import Detections

_FINEST_REDUCTION: Final[dict[Tiles, float]] = {"auto": 1.5, "fine": 1.0}
"""Image pixels to a network pixel at the finest level: a face of 24 pixels keeps 16 or all."""

START_AT: Final = 2.0
"""How much coarser than the finest level the whole view has to be for tiles to be worth it."""

OVERLAP: Final = 0.2
"""What neighbouring tiles share, as a fraction of a tile's side: 128 of 640 network pixels."""

MAX_LEVEL_RATIO: Final = 4.0
"""A face of the overlap's size has a quarter of it, 32 pixels, at the next coarser level."""

MAX_VIEWS: Final = 400
"""Of one image; beyond it the finest level is made coarser."""

SAME_FACE_IOU: Final = 0.5
"""As within one view."""

SURE_SCORE: Final = 0.5
"""Enough for a face that is larger than the overlap and that no coarser view confirms."""

CONFIRMING_IOU: Final = 0.3
CONFIRMING_PART: Final = 0.5
"""Of the threshold: the lowest score in a coarser view that confirms a face."""

_PART_OF_FACE: Final = 0.6
_SHARED_PART: Final = 0.3
_INSIDE: Final = 0.85
_RIM: Final = 0.015
"""How near to a tile's border a box ends that it cuts, as a fraction of the tile's side."""


@dataclass(frozen=True)
class View:
    """A part of an image that the network sees at once, in pixels from its top left corner."""

    x: int
    y: int
    width: int
    height: int


def plan_views(width: int, height: int, *, size: int, tiles: Tiles = "auto") -> list[View]:
    """Decide in which views an image of so many pixels is detected.

    Args:
        width: Pixels.
        height: Pixels.
        size: Longest side of what is given to the network, pixels.
        tiles: "auto" adds tiles where the whole view has less than a third of the image's
            resolution, "fine" adds more of them, from less than a half on, "off" none.

    Returns:
        The whole image, then the tiles from coarse to fine, `MAX_VIEWS` at most. At each level
        every square of the tiles' overlap lies wholly in some tile.
    """
    views = [View(0, 0, width, height)]
    whole = max(width, height) / size
    if not pays_off(whole, tiles):
        return views
    finest = _FINEST_REDUCTION[tiles]
    while True:
        sides = [round(size * reduction) for reduction in _reductions(whole, finest)]
        if 1 + sum(_count(width, side) * _count(height, side) for side in sides) <= MAX_VIEWS:
            return views + [view for side in sides for view in _level(width, height, side)]
        finest *= 1.1


def pays_off(whole: float, tiles: Tiles) -> bool:
    """Whether an image is worth looking at in parts too.

    Args:
        whole: Its pixels to a network pixel of the whole view.
        tiles: As for `plan_views`.
    """
    return whole > START_AT * _FINEST_REDUCTION.get(tiles, math.inf)


def part_views(width: int, height: int, *, size: int) -> list[View]:
    """The whole image, then tiles from coarse to fine; the finest are `size` pixels wide."""
    whole = max(width, height) / size
    levels = [round(size * reduction) for reduction in _reductions(whole, 1.0)]
    tiles = [view for side in levels for view in _level(width, height, side)]
    return [View(0, 0, width, height), *tiles]


def merge(
    found: Sequence[tuple[View, Detections]], *, width: int, height: int, threshold: float
) -> Detections:
    """Put together what was found in several views of one image: one box for each face.

    A box that ends at the border of a tile may be a part of a face: it gives way to a box that
    holds most of it, and two such parts that overlap become one box around both. Where in doubt
    both boxes stay: an extra mask is a blemish, a missing one is not.

    Faces larger than the overlap are for the coarser views to find. What a tile takes for one, as
    it does for smooth shapes out of focus, counts if it is sure, or if a coarser view has at least
    an inkling of it.

    Args:
        found: The views, coarse to fine, and the faces in each, in pixels of the image, with
            scores from `CONFIRMING_PART` of the threshold up.
        width: Of the image, pixels.
        height: Of the image, pixels.
        threshold: Lowest score that counts as a face, 0-1.

    Returns:
        The faces, best score first.
    """
    counted = [(v, f.select(_counts(f, v, found, threshold=threshold))) for v, f in found]
    if len(counted) == 1:
        return counted[0][1]
    rows = np.concatenate([faces.rows() for _, faces in counted])
    cut = np.concatenate([_is_cut(faces.boxes, view, width, height) for view, faces in counted])
    order = np.lexsort((-rows[:, 4], cut))
    kept = Detections.from_rows(_merged(rows[order], cut[order]))
    return kept.select(np.argsort(-kept.scores, kind="stable"))


def _reductions(whole: float, finest: float) -> list[float]:
    """Image pixels to a network pixel at each level of tiles, coarse to fine."""
    if whole <= finest:
        return []
    ratio = whole / finest
    count = math.ceil(math.log(ratio, MAX_LEVEL_RATIO) - 1e-9)
    return [finest * ratio ** (step / count) for step in reversed(range(count))]


def _level(width: int, height: int, side: int) -> Iterator[View]:
    columns, rows = _starts(width, side), _starts(height, side)
    for y in rows:
        for x in columns:
            yield View(x, y, min(side, width), min(side, height))


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along one side of the image, evenly spread."""
    count = _count(length, side)
    return [(length - side) * index // (count - 1) if index else 0 for index in range(count)]


def _count(length: int, side: int) -> int:
    """How many tiles it takes along one side of the image."""
    if length <= side:
        return 1
    overlap = math.ceil(side * OVERLAP)
    return math.ceil((length - overlap) / (side - overlap))


def _counts(
    faces: Detections, view: View, found: Sequence[tuple[View, Detections]], *, threshold: float
) -> npt.NDArray[np.bool_]:
    """Which faces of a view are to be believed."""
    counts = np.asarray(faces.scores >= threshold, np.bool_)
    side = max(view.width, view.height)
    coarser = [boxes.boxes for other, boxes in found if max(other.width, other.height) > side]
    if not coarser:
        return counts
    large = (faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1, initial=0) > OVERLAP * side
    doubtful = counts & large & (faces.scores < SURE_SCORE)
    others = np.concatenate(coarser)
    for index in np.flatnonzero(doubtful):
        iou = box_iou(faces.boxes[index], others)
        counts[index] = iou.max(initial=0) >= CONFIRMING_IOU
    return counts


def _is_cut(
    boxes: npt.NDArray[np.float32], view: View, width: int, height: int
) -> npt.NDArray[np.bool_]:
    """Which boxes end at a border of the view that is none of the image."""
    rim = _RIM * max(view.width, view.height)
    right, bottom = view.x + view.width, view.y + view.height
    return np.asarray(
        ((boxes[:, 0] <= view.x + rim) & (view.x > 0))
        | ((boxes[:, 1] <= view.y + rim) & (view.y > 0))
        | ((boxes[:, 2] >= right - rim) & (right < width))
        | ((boxes[:, 3] >= bottom - rim) & (bottom < height)),
        np.bool_,
    )


def _merged(rows: npt.NDArray[np.float32], cut: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Leave one row for each face; whole faces come first, then by score."""
    left = np.arange(len(rows))
    kept: list[npt.NDArray[np.float32]] = []
    while len(left):
        best, left = left[0], left[1:]
        row, is_cut = rows[best].copy(), bool(cut[best])
        joined = True
        while joined and len(left):
            common, own, areas = (each[0] for each in box_overlap(row[:4], rows[left, :4]))
            inside = common / np.maximum(areas, 1e-6)
            same = common / np.maximum(own + areas - common, 1e-6) >= SAME_FACE_IOU
            same |= (inside >= _INSIDE) & (rows[left, 4] <= row[4])
            parts = cut[left] & (inside >= _PART_OF_FACE)
            if is_cut:
                parts = cut[left] & (
                    common / np.maximum(np.minimum(own, areas), 1e-6) >= _SHARED_PART
                )
                row[:2] = np.minimum(row[:2], rows[left[parts], :2].min(axis=0, initial=np.inf))
                row[2:4] = np.maximum(row[2:4], rows[left[parts], 2:4].max(axis=0, initial=-np.inf))
            left = left[~(same | parts)]
            joined = is_cut and bool(parts.any())
        kept.append(row)
    return np.stack(kept) if kept else rows[:0]
