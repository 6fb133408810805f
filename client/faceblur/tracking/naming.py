"""Name the tracks of a whole video so that none is ever of two people.

The tracker has one reason to exist, and that is coverage: where it takes one face for another, both
are masked all the same. Whoever wants one of them to be left unmasked needs more. So a track is cut
wherever somebody else may have been taken for it: after it came close to another, where it was not
found for a while, and where it leapt. Nothing is ever joined: faces are not recognised. What is
left of a track is `certain` away from its ends and from everybody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from faceblur.detections import (
    PIXEL_DIGITS,
    TIME_DIGITS,
    Float64Array,
    FrameDetectionsLog,
    IntArray,
    TrackSummary,
    box_iou,
)
from faceblur.tracking.encounters import BoolArray, meeting, rivals

SURE_SCORE: Final = 0.35
"""Lowest score of a face that may be left unmasked."""

_GAP_S: Final = 0.3
"""Somebody else may have stepped in after a face was not found for longer."""
_AROUND_S: Final = 0.25
"""How long before and after an encounter nothing is certain."""
_END_S: Final = 0.12
"""The same at both ends of a track."""
_SHORTEST_S: Final = 0.2
"""A certain span is longer."""
_SIGHTINGS: Final = 8
"""And its track was found so often at least."""
_MIN_IOU: Final = 0.25
"""Of a face and where it was, or was expected."""
_MAX_RATIO: Final = 1.5
"""Of its size and that before."""
_CLOCK_S: Final = 1e-4
"""Times closer than this are the same."""

Spans = tuple[tuple[float, float], ...]


def name_tracks(log: FrameDetectionsLog) -> list[TrackSummary]:
    """Give the faces of a video their final tracks, from those of `fill_gaps`.

    Returns:
        The tracks, by their ids, which count from 1 in the order in which they begin.
    """
    faces = _Faces.of(log)
    names = np.zeros(len(faces.tracks), np.int32)
    certain: dict[int, Spans] = {}
    pieces = sorted(faces.pieces(), key=lambda piece: int(piece.rows[0]))
    for name, piece in enumerate(pieces, start=1):
        names[piece.rows] = name
        certain[name] = faces.certain_spans(piece)
    log.rename_tracks(names)
    return summarise(log, certain)


def summarise(log: FrameDetectionsLog, certain: Mapping[int, Spans]) -> list[TrackSummary]:
    """Sum up the tracks of a video as they are named, given what is certain of them."""
    faces = _Faces.of(log)
    return [
        faces.summary(int(name), rows, certain.get(int(name), ()))
        for name, rows in _groups(faces.tracks)
    ]


@dataclass(frozen=True, eq=False)
class _Piece:
    """What becomes a track of its own.

    Attributes:
        rows: Its faces, rising; those of one frame side by side.
        doubtful: For each, whether it is close to somebody else, or was shortly before or after.
    """

    rows: npt.NDArray[np.int64]
    doubtful: BoolArray


@dataclass(frozen=True, eq=False)
class _Faces:
    """All faces of a video.

    Attributes:
        times: Of its frames, seconds.
        frames: Of each face, the position of its frame.
        boxes: Of each face.
        scores: 0 where it was filled in.
        tracks: 0 for none.
    """

    times: Float64Array
    frames: npt.NDArray[np.int64]
    boxes: Float64Array
    scores: Float64Array
    tracks: IntArray

    @classmethod
    def of(cls, log: FrameDetectionsLog) -> _Faces:
        times, frames, rows, tracks = log.columns()
        table = rows.astype(np.float64)
        return cls(times, frames, table[:, :4], table[:, 4], tracks)

    def pieces(self) -> Iterator[_Piece]:
        """Cut the tracks wherever it is not certain that they go on with the same face."""
        rivalled, met = self._encounters()
        for _, rows in _groups(self.tracks):
            around = self._around(rows, rivalled[rows])
            near = around | self._around(rows, met[rows])
            cuts = np.zeros(len(rows), np.bool_)
            # The face that comes out of an encounter may be the other one.
            cuts[1:] = around[:-1] & ~around[1:]
            for at in self._breaks(rows):
                cuts[at] = True
            # The faces of one frame stay together.
            cuts[1:] &= np.diff(self.frames[rows]) > 0
            for part in np.split(np.arange(len(rows)), np.flatnonzero(cuts)):
                if len(part):
                    yield _Piece(rows[part], near[part])

    def certain_spans(self, piece: _Piece) -> Spans:
        """The times in which a piece is surely one and the same face, found and by itself."""
        times = self.times[self.frames[piece.rows]]
        clear = (self.scores[piece.rows] >= SURE_SCORE) & ~piece.doubtful
        found = times[self.scores[piece.rows] > 0]
        if len(found) < _SIGHTINGS:
            return ()
        clear &= (times >= found[0] + _END_S) & (times <= found[-1] - _END_S)
        # A frame counts if all of the track in it does.
        at, first = np.unique(times, return_index=True)
        clear = np.logical_and.reduceat(clear, first)
        spans = []
        for run in np.split(np.arange(len(at)), np.flatnonzero(np.diff(clear.astype(np.int8))) + 1):
            start_s, end_s = float(at[run[0]]), float(at[run[-1]])
            if clear[run[0]] and end_s - start_s >= _SHORTEST_S:
                spans.append((round(start_s, TIME_DIGITS), round(end_s, TIME_DIGITS)))
        return tuple(spans)

    def summary(self, name: int, rows: npt.NDArray[np.int64], certain: Spans) -> TrackSummary:
        frames, scores = self.frames[rows], self.scores[rows]
        heights = self.boxes[rows, 3] - self.boxes[rows, 1]
        found = scores > 0
        best = int(np.argmax(np.where(found, heights * scores, 0)))
        return TrackSummary(
            id=name,
            first_s=round(float(self.times[frames[0]]), TIME_DIGITS),
            last_s=round(float(self.times[frames[-1]]), TIME_DIGITS),
            frames=len(np.unique(frames)),
            largest_height=round(float(heights[found].max(initial=0)), PIXEL_DIGITS),
            best_frame=int(frames[best]),
            certain=certain,
        )

    def _encounters(self) -> tuple[BoolArray, BoolArray]:
        """Of each face, whether it may be taken for another, and whether it touches one."""
        rivalled = np.zeros(len(self.frames), np.bool_)
        met = np.zeros(len(self.frames), np.bool_)
        starts = np.searchsorted(self.frames, np.arange(len(self.times) + 1))
        for frame in np.flatnonzero(np.diff(starts) > 1):
            part = slice(starts[frame], starts[frame + 1])
            tracks = self.tracks[part]
            others = tracks[:, None] != tracks[None]
            # Faces of no track may be anybody.
            others |= tracks[None] == 0
            around = self.times[max(frame - 1, 0) : frame + 2]
            interval_s = float(np.diff(around).max(initial=0))
            rivalled[part] = (rivals(self.boxes[part], interval_s) & others).any(axis=1)
            met[part] = (meeting(self.boxes[part]) & others).any(axis=1)
        return rivalled, met

    def _around(self, rows: npt.NDArray[np.int64], struck: BoolArray) -> BoolArray:
        """Widen what befell faces of a track to all of its faces shortly before and after."""
        times = self.times[self.frames[rows]]
        moments = times[struck]
        if not len(moments):
            return struck
        after = np.searchsorted(moments, times - _AROUND_S - _CLOCK_S)
        before = np.searchsorted(moments, times + _AROUND_S + _CLOCK_S)
        widened: BoolArray = before > after
        return widened

    def _breaks(self, rows: npt.NDArray[np.int64]) -> Iterator[int]:
        """Where a track goes on with what may be another face: positions in `rows`."""
        seen = np.flatnonzero(self.scores[rows] > 0)
        boxes, times = self.boxes[rows[seen]], self.times[self.frames[rows[seen]]]
        for i in range(1, len(seen)):
            elapsed_s = times[i] - times[i - 1]
            if elapsed_s <= 0:
                continue
            if elapsed_s > _GAP_S or not self._follows(boxes[: i + 1][-3:], times[: i + 1][-3:]):
                yield int(seen[i])

    @staticmethod
    def _follows(boxes: Float64Array, times: Float64Array) -> bool:
        """Whether the last of two or three sightings is where the face was, or was going to."""
        sizes = np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(-1), 1e-6))
        if max(sizes[-1] / sizes[-2], sizes[-2] / sizes[-1]) > _MAX_RATIO:
            return False
        expected = [boxes[-2]]
        if len(boxes) > 2 and times[-2] > times[-3]:
            pace = (boxes[-2] - boxes[-3]) / (times[-2] - times[-3])
            expected.append(boxes[-2] + pace * (times[-1] - times[-2]))
        return bool((box_iou(np.stack(expected), boxes[-1:]) >= _MIN_IOU).any())


def _groups(tracks: IntArray) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Each track and its rows, but for those of none."""
    order = np.argsort(tracks, kind="stable")
    named = order[tracks[order] > 0]
    names, starts = np.unique(tracks[named], return_index=True)
    parts = np.split(named, starts[1:]) if len(names) else []
    yield from zip(names.tolist(), parts, strict=True)


def spans_hold(spans: Sequence[tuple[float, float]], time_s: float) -> bool:
    """Whether a time is in one of some spans."""
    return any(start - _CLOCK_S <= time_s <= end + _CLOCK_S for start, end in spans)
