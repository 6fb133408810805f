"""Name the tracks of a whole video so that none is ever of two people.

The tracker has one reason to exist, and that is coverage: where it takes one face for another, both
are masked all the same. Whoever wants one of them to be left unmasked needs more. So a track is cut
wherever somebody else may have been taken for it: after it came close to another, where it was not
found for a while, and where it leapt. Only what lies in one place in one frame is ever joined, the
boxes of a face that was found twice; never what looks alike: faces are not recognised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from faceblur.boxes import box_iou
from faceblur.detections import (
    PIXEL_DIGITS,
    TIME_DIGITS,
    Float64Array,
    FrameDetectionsLog,
    TrackSummary,
)
from faceblur.tracking.duplicates import linked, one_face
from faceblur.tracking.encounters import Encounters, struck
from faceblur.tracking.face_table import CLOCK_S, BoolArray, FaceTable, Positions
from faceblur.tracking.likeness import Doubt

SURE_SCORE: Final = 0.35
"""Lowest score of a face that may be left unmasked."""

_GAP_S: Final = 0.3
"""Somebody else may have stepped in after a face was not found for longer."""
_END_S: Final = 0.12
"""How long nothing is certain at both ends of a track."""
_SHORTEST_S: Final = 0.2
"""A certain span is at least so long."""
_SIGHTINGS: Final = 8
"""And its track was found so often at least."""
_MIN_IOU: Final = 0.25
"""Of a face and where it was, or was expected."""
_MAX_RATIO: Final = 1.5
"""Of its size and that before."""

Spans = tuple[tuple[float, float], ...]


class Certainty(NamedTuple):
    """Spans in which a track is surely one face; see `TrackSummary`."""

    steady: Spans = ()
    certain: Spans = ()


def name_tracks(log: FrameDetectionsLog, doubts: Iterable[Doubt] = ()) -> list[TrackSummary]:
    """Give the faces of a video their final tracks, from those of `fill_gaps`.

    Args:
        log: The video.
        doubts: Times in which tracks may be of two faces.

    Returns:
        The tracks, by their ids, which count from 1 in the order in which they begin.
    """
    faces = FaceTable.of(log)
    names = np.zeros(len(faces.tracks), np.int32)
    certainty: dict[int, Certainty] = {}
    doubted: dict[int, list[Doubt]] = {}
    for doubt in doubts:
        doubted.setdefault(doubt.track, []).append(doubt)
    pieces = sorted(_pieces(faces, doubted), key=lambda piece: int(piece.rows[0]))
    for name, piece in enumerate(pieces, start=1):
        names[piece.rows] = name
        certainty[name] = _certainty(faces, piece)
    log.rename_tracks(names)
    return summarise(log, certainty)


def summarise(log: FrameDetectionsLog, certainty: Mapping[int, Certainty]) -> list[TrackSummary]:
    """Sum up the tracks of a video as they are named, given what is certain of them."""
    faces = FaceTable.of(log)
    return [
        _summary(faces, name, rows, certainty.get(name, Certainty()))
        for name, rows in faces.by_track()
    ]


def spans_hold(spans: Sequence[tuple[float, float]], times: Float64Array) -> BoolArray:
    """Which times are in one of some spans."""
    held = np.zeros(len(times), np.bool_)
    for start, end in spans:
        held |= (times >= start - CLOCK_S) & (times <= end + CLOCK_S)
    return held


class _Piece(NamedTuple):
    """Faces that are surely one.

    Attributes:
        rows: Their positions, rising.
        close: (N,) whether somebody was close to each.
        doubted: (N,) whether it may have been another all the same.
    """

    rows: Positions
    close: BoolArray
    doubted: BoolArray


def _pieces(faces: FaceTable, doubts: Mapping[int, Sequence[Doubt]]) -> Iterator[_Piece]:
    """Cut the tracks wherever it is not certain that they go on with the same face."""
    count = len(faces.frames)
    encounters = Encounters.of(faces)
    rivalled, met = struck(encounters.rivals, count), struck(encounters.meeting, count)
    torn = _torn(faces, encounters)
    near, close, doubted = (np.zeros(count, np.bool_) for _ in range(3))
    parts = []
    for _, rows in faces.by_track():
        near[rows] = faces.around(rows, rivalled[rows])
        close[rows] = near[rows] | faces.around(rows, met[rows])
        doubted[rows] = faces.around(rows, torn[rows])
        cuts = _leaves(near[rows])
        cuts[list(_breaks(faces, rows))] = True
        cuts[1:] |= np.diff(torn[rows])
        parts += np.split(rows, np.flatnonzero(cuts))
    final = []
    for group in _joined(faces, parts, encounters):
        # What befell one box of a face befell the others.
        rows = np.sort(np.concatenate([parts[number] for number in group]))
        times = faces.times[faces.frames[rows]]
        tracks = np.unique(faces.tracks[rows]).tolist()
        spans = [doubt for track in tracks for doubt in doubts.get(track, ())]
        doubted[rows] |= spans_hold([(doubt.start_s, doubt.end_s) for doubt in spans], times)
        near[rows] |= faces.around(rows, rivalled[rows])
        close[rows] |= near[rows] | faces.around(rows, met[rows])
        for flags in (near, close, doubted):
            flags[rows] = _of_frames(faces, rows, flags[rows])
        ends = [*times[_leaves(near[rows])], *(doubt.end_s for doubt in spans)]
        for number in group:
            part = parts[number]
            at = np.searchsorted(faces.times[faces.frames[part]], np.array(ends) - CLOCK_S)
            final += [each for each in np.split(part, np.unique(at)) if len(each)]
    for group in _joined(faces, final, encounters):
        rows = np.sort(np.concatenate([final[number] for number in group]))
        yield _Piece(rows, close[rows], doubted[rows])


def _of_frames(faces: FaceTable, rows: Positions, flags: BoolArray) -> BoolArray:
    """Of each face of a track, whether any of the track in its frame is flagged."""
    _, first, of = np.unique(faces.frames[rows], return_index=True, return_inverse=True)
    found: BoolArray = np.logical_or.reduceat(flags, first)[of]
    return found


def _leaves(near: BoolArray) -> BoolArray:
    """Where an encounter is over: the face that comes out of it may be the other one."""
    cuts = np.zeros(len(near), np.bool_)
    cuts[1:] = near[:-1] & ~near[1:]
    return cuts


def _torn(faces: FaceTable, encounters: Encounters) -> BoolArray:
    """Which faces are elsewhere than that of a track that was their duplicate at another time."""
    count = int(faces.tracks.max(initial=0)) + 1
    code = np.array([count, 1])
    partners = np.unique(faces.tracks[encounters.duplicates] @ code)
    others = np.concatenate([encounters.rivals, encounters.meeting])
    return struck(others[np.isin(faces.tracks[others] @ code, partners)], len(faces.frames))


def _joined(
    faces: FaceTable, parts: Sequence[Positions], encounters: Encounters
) -> Iterator[list[int]]:
    """Put together the parts that are of one face because it was found twice in one frame.

    Yields:
        Numbers of parts; those that are in one frame apart from each other are never together.
    """
    part_of = np.full(len(faces.frames), -1)
    for number, rows in enumerate(parts):
        part_of[rows] = number
    # What was only filled in goes with the face that it lies on.
    filled = np.array([(faces.scores[rows] == 0).all() for rows in parts], np.bool_)
    sides = _named(part_of[encounters.filled])
    twice = _named(part_of[encounters.duplicates])
    pairs = np.concatenate([twice, sides[filled[sides].any(axis=1)]])
    apart = _named(part_of[np.concatenate([encounters.rivals, encounters.meeting])])
    yield from linked(len(parts), pairs.tolist(), apart.tolist())


def _named(pairs: Positions) -> Positions:
    """Those pairs of parts whose faces are both of a track."""
    named: Positions = pairs[(pairs >= 0).all(axis=1)]
    return named


def _breaks(faces: FaceTable, rows: Positions) -> Iterator[int]:
    """Where a track goes on with what may be another face: positions in `rows`."""
    frames = faces.frames[rows]
    seen = np.flatnonzero(faces.scores[rows] > 0)
    boxes, times = faces.boxes[rows[seen]], faces.times[frames[seen]]
    for i in range(1, len(seen)):
        elapsed_s = times[i] - times[i - 1]
        if elapsed_s > _GAP_S or not _follows(boxes[: i + 1][-3:], times[: i + 1][-3:]):
            # What was filled in beside it in the same frame stays with it.
            yield int(np.searchsorted(frames, frames[seen[i]]))


def _follows(boxes: Float64Array, times: Float64Array) -> bool:
    """Whether the last of two or three sightings is where the face was, or was going to."""
    sizes = np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(-1), 1e-6))
    if max(sizes[-1] / sizes[-2], sizes[-2] / sizes[-1]) > _MAX_RATIO:
        return False
    expected = [boxes[-2]]
    if len(boxes) > 2:
        pace = (boxes[-2] - boxes[-3]) / (times[-2] - times[-3])
        expected.append(boxes[-2] + pace * (times[-1] - times[-2]))
    return bool((box_iou(np.stack(expected), boxes[-1:]) >= _MIN_IOU).any())


def _certainty(faces: FaceTable, piece: _Piece) -> Certainty:
    times, scores = faces.times[faces.frames[piece.rows]], faces.scores[piece.rows]
    found = np.unique(times[scores > 0])
    if len(found) < _SIGHTINGS:
        return Certainty()
    clear = one_face(faces, piece.rows, sure=SURE_SCORE)
    clear &= ~piece.doubted
    clear &= (times >= found[0] + _END_S - CLOCK_S) & (times <= found[-1] - _END_S + CLOCK_S)
    return Certainty(_spans(times, clear), _spans(times, clear & ~piece.close))


def _spans(times: Float64Array, clear: BoolArray) -> Spans:
    """The times in which all of a track is clear."""
    at, first = np.unique(times, return_index=True)
    clear = np.logical_and.reduceat(clear, first)
    spans = []
    for run in np.split(np.arange(len(at)), np.flatnonzero(np.diff(clear)) + 1):
        start_s, end_s = float(at[run[0]]), float(at[run[-1]])
        if clear[run[0]] and end_s - start_s >= _SHORTEST_S:
            spans.append((round(start_s, TIME_DIGITS), round(end_s, TIME_DIGITS)))
    return tuple(spans)


def _summary(faces: FaceTable, name: int, rows: Positions, certainty: Certainty) -> TrackSummary:
    frames, scores = faces.frames[rows], faces.scores[rows]
    heights = faces.boxes[rows, 3] - faces.boxes[rows, 1]
    found = scores > 0
    best = int(np.argmax(np.where(found, heights * scores, 0)))
    return TrackSummary(
        id=name,
        first_s=round(float(faces.times[frames[0]]), TIME_DIGITS),
        last_s=round(float(faces.times[frames[-1]]), TIME_DIGITS),
        frames=len(np.unique(frames)),
        largest_height=round(float(heights[found].max(initial=0)), PIXEL_DIGITS),
        best_frame=int(frames[best]),
        steady=certainty.steady,
        certain=certainty.certain,
    )
