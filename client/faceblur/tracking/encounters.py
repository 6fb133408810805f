"""All faces of a video in one table, and where two may be taken for each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from faceblur.detections import Float64Array, FrameDetectionsLog, IntArray

BoolArray = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

CLOCK_S: Final = 1e-4
"""Times closer than this are the same."""

_REACH: Final = 1.8
"""Distance of centres, in sizes of the larger face."""
_REACH_PER_S: Final = 5.0
"""What is added for each second between two frames."""
_MAX_RATIO: Final = 2.5
"""Sizes further apart than this are not taken for each other, however close they are."""
_MARGIN: Final = 0.35
"""What is added to each side of a box, in its width and height, before boxes are said to meet."""
_AROUND_S: Final = 0.25
"""How long before and after an encounter nothing is certain."""


@dataclass(frozen=True, eq=False)
class FaceTable:
    """All faces of a video, in order.

    Attributes:
        times: (F,) of its frames, seconds.
        frames: (N,) the position of each face's frame.
        boxes: (N, 4) x1 y1 x2 y2, pixels.
        scores: (N,) 0 where a face was filled in.
        tracks: (N,) 0 for none.
    """

    times: Float64Array
    frames: Positions
    boxes: Float64Array
    scores: Float64Array
    tracks: IntArray

    @classmethod
    def of(cls, log: FrameDetectionsLog) -> FaceTable:
        """Take the faces of a video."""
        times, frames, rows, tracks = log.columns()
        table = rows.astype(np.float64)
        return cls(times, frames, table[:, :4], table[:, 4], tracks)

    def by_track(self) -> Iterator[tuple[int, Positions]]:
        """Each track and the positions of its faces, rising; not those of none."""
        order = np.argsort(self.tracks, kind="stable")
        named = order[self.tracks[order] > 0]
        names, starts = np.unique(self.tracks[named], return_index=True)
        parts = np.split(named, starts[1:]) if len(names) else []
        yield from zip(names.tolist(), parts, strict=True)

    def around(self, rows: Positions, struck: BoolArray) -> BoolArray:
        """Widen what befell faces of a track to all of its faces shortly before and after."""
        times = self.times[self.frames[rows]]
        moments = times[struck]
        after = np.searchsorted(moments, times - _AROUND_S - CLOCK_S)
        before = np.searchsorted(moments, times + _AROUND_S + CLOCK_S)
        widened: BoolArray = before > after
        return widened


@dataclass(frozen=True, eq=False)
class Encounters:
    """Pairs of faces in one frame that are of different tracks, or of none.

    Attributes:
        rivals: (P, 2) positions of faces that may be taken for each other, each pair both ways.
        meeting: (Q, 2) of those whose boxes overlap, with what is around them.
    """

    rivals: Positions
    meeting: Positions

    @classmethod
    def of(cls, faces: FaceTable) -> Encounters:
        """Find them."""
        starts = np.searchsorted(faces.frames, np.arange(len(faces.times) + 1))
        pairs: tuple[list[Positions], list[Positions]] = ([], [])
        for frame in np.flatnonzero(np.diff(starts) > 1):
            part = slice(starts[frame], starts[frame + 1])
            tracks, boxes = faces.tracks[part], faces.boxes[part]
            others = (tracks[:, None] != tracks[None]) | (tracks[None] == 0)
            np.fill_diagonal(others, False)
            around = faces.times[max(frame - 1, 0) : frame + 2]
            interval_s = float(np.diff(around).max(initial=0))
            for found, which in zip(
                pairs, (_rivals(boxes, interval_s), _meeting(boxes)), strict=True
            ):
                found.append(np.argwhere(which & others) + starts[frame])
        nothing = np.zeros((0, 2), np.int64)
        return cls(*(np.concatenate([nothing, *found]) for found in pairs))


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
