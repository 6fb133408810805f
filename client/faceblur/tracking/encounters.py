"""Where two faces of a video may be taken for each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from faceblur.detections import Float64Array
from faceblur.tracking.duplicates import duplicate_pairs
from faceblur.tracking.face_table import BoolArray, FaceTable, Positions

_REACH: Final = 1.8
"""Distance of centres, in sizes of the larger face."""
_REACH_PER_S: Final = 5.0
"""What is added for each second between two frames."""
_MAX_RATIO: Final = 2.5
"""Sizes further apart than this are not taken for each other, however close they are."""
_MARGIN: Final = 0.35
"""What is added to each side of a box, in its width and height, before boxes are said to meet."""


@dataclass(frozen=True, eq=False)
class Encounters:
    """Pairs of faces in one frame that are of different tracks, or of none, each pair both ways.

    Attributes:
        rivals: (P, 2) positions of faces that may be taken for each other.
        meeting: (Q, 2) of those whose boxes overlap, with what is around them.
        duplicates: (R, 2) of one and the same face, found twice; they are in neither of the others.
        filled: (S, 2) likewise, where at least one was filled in.
    """

    rivals: Positions
    meeting: Positions
    duplicates: Positions
    filled: Positions

    @classmethod
    def of(cls, faces: FaceTable) -> Encounters:
        """Find them."""
        rivals: list[Positions] = []
        meeting: list[Positions] = []
        for part in faces.crowded():
            tracks, boxes = faces.tracks[part], faces.boxes[part]
            others = (tracks[:, None] != tracks[None]) | (tracks[None] == 0)
            np.fill_diagonal(others, False)
            frame = faces.frames[part[0]]
            around = faces.times[max(frame - 1, 0) : frame + 2]
            interval_s = float(np.diff(around).max(initial=0))
            rivals.append(part[np.argwhere(_rivals(boxes, interval_s) & others)])
            meeting.append(part[np.argwhere(_meeting(boxes) & others)])
        duplicates, filled = duplicate_pairs(faces)
        same = np.concatenate([duplicates, filled])
        return cls(_of_others(rivals, same), _of_others(meeting, same), duplicates, filled)


def _of_others(parts: Sequence[Positions], same: Positions) -> Positions:
    """Pairs without those of one face; what befell one box of a face befell all of them."""
    pairs: Positions = np.concatenate([np.zeros((0, 2), np.int64), *parts])
    if not len(same):
        return pairs
    count = int(max(pairs.max(initial=0), same.max())) + 1
    codes = same @ np.array([count, 1])
    pairs = pairs[~np.isin(pairs @ np.array([count, 1]), codes)]
    order = np.argsort(same[:, 0], kind="stable")
    begins = np.searchsorted(same[order, 0], pairs[:, 0], side="left")
    ends = np.searchsorted(same[order, 0], pairs[:, 0], side="right")
    more = [
        (int(double), int(other))
        for (_, other), begin, end in zip(pairs.tolist(), begins, ends, strict=True)
        for double in same[order[begin:end], 1]
        if int(double) != int(other)
    ]
    spread = np.array(more, np.int64).reshape(-1, 2)
    spread = spread[~np.isin(spread @ np.array([count, 1]), codes)]
    found: Positions = np.unique(np.concatenate([pairs, spread, spread[:, ::-1]]), axis=0)
    return found


def struck(pairs: Positions, count: int, by: BoolArray | None = None) -> BoolArray:
    """Which of so many faces are the first of a pair, whose second is one of some."""
    chosen = pairs if by is None else pairs[by[pairs[:, 1]]]
    found = np.zeros(count, np.bool_)
    found[chosen[:, 0]] = True
    return found


def _rivals(boxes: Float64Array, interval_s: float) -> BoolArray:
    """Which faces of a frame may be taken for each other, there or in the frames beside.

    Args:
        boxes: (N, 4).
        interval_s: To the next frame, or since the one before, whichever is longer.
    """
    sizes = np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(-1), 1e-6))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    apart = np.hypot(*np.moveaxis(centres[:, None] - centres[None], -1, 0))
    larger = np.maximum(sizes[:, None], sizes[None])
    smaller = np.minimum(sizes[:, None], sizes[None])
    close = apart < larger * (_REACH + _REACH_PER_S * interval_s)
    found: BoolArray = close & (larger < _MAX_RATIO * smaller)
    return found


def _meeting(boxes: Float64Array) -> BoolArray:
    margin = (boxes[:, 2:] - boxes[:, :2]) * _MARGIN
    low, high = boxes[:, :2] - margin, boxes[:, 2:] + margin
    found: BoolArray = (low[:, None] < high[None]).all(-1) & (low[None] < high[:, None]).all(-1)
    return found
