"""All faces of a video in one table."""

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
        landmarks: (N, 5, 2) pixels.
        tracks: (N,) 0 for none.
    """

    times: Float64Array
    frames: Positions
    boxes: Float64Array
    scores: Float64Array
    landmarks: Float64Array
    tracks: IntArray

    @classmethod
    def of(cls, log: FrameDetectionsLog) -> FaceTable:
        """Take the faces of a video."""
        times, frames, rows, tracks = log.columns()
        table = rows.astype(np.float64)
        landmarks = table[:, 5:15].reshape(-1, 5, 2)
        return cls(times, frames, table[:, :4], table[:, 4], landmarks, tracks)

    def crowded(self) -> Iterator[Positions]:
        """The positions of the faces of each frame that has several."""
        starts = np.searchsorted(self.frames, np.arange(len(self.times) + 1))
        for frame in np.flatnonzero(np.diff(starts) > 1):
            yield np.arange(starts[frame], starts[frame + 1])

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
