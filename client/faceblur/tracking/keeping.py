"""Where the tracks that somebody chose may be left unmasked: nowhere that they may be others."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np

from faceblur.detections import FrameDetectionsLog
from faceblur.tracking.duplicates import one_face
from faceblur.tracking.encounters import Encounters, struck
from faceblur.tracking.face_table import BoolArray, FaceTable, Positions
from faceblur.tracking.naming import SURE_SCORE, Spans, spans_hold


def unmasked(
    log: FrameDetectionsLog, *, kept: Set[int], steady: Mapping[int, Spans]
) -> list[BoolArray]:
    """Say which faces of a video are left unmasked when some of its tracks are to be seen.

    A face is, where its track is certain, it was found itself, and nobody who is to be masked is
    close to it, or was shortly before, or will be. Those who are kept may be close to each other:
    which of them is which does not matter, as long as all who were taken for one of them meanwhile
    are kept.

    Args:
        log: The video, its tracks named.
        kept: Ids of tracks.
        steady: Spans in which each track was surely followed; one that is not in it is nowhere.

    Returns:
        For each frame, whether each of its faces is left unmasked.
    """
    faces = FaceTable.of(log)
    starts = np.searchsorted(faces.frames, np.arange(1, len(faces.times)))
    shown = np.zeros(len(faces.frames), np.bool_)
    if not kept:
        return np.split(shown, starts)
    encounters = Encounters.of(faces)
    count = len(faces.frames)
    ours = np.isin(faces.tracks, list(kept)) & (faces.tracks > 0)
    met = struck(encounters.meeting, count, by=~ours)
    doubtful = _tainted(faces, encounters.rivals, ours)
    for name, rows in faces.by_track():
        if name not in kept:
            continue
        near = doubtful[rows] | faces.around(rows, met[rows])
        shown[rows] = _clear(faces, rows, steady.get(name, ()), near)
    return np.split(shown, starts)


def alone(log: FrameDetectionsLog, *, steady: Mapping[int, Spans]) -> list[BoolArray]:
    """Say which faces of a video are certain and away from all others; see `unmasked`."""
    faces = FaceTable.of(log)
    encounters = Encounters.of(faces)
    close = struck(np.concatenate([encounters.rivals, encounters.meeting]), len(faces.frames))
    found = np.zeros(len(faces.frames), np.bool_)
    for name, rows in faces.by_track():
        near = faces.around(rows, close[rows])
        found[rows] = _clear(faces, rows, steady.get(name, ()), near)
    return np.split(found, np.searchsorted(faces.frames, np.arange(1, len(faces.times))))


def _clear(faces: FaceTable, rows: Positions, steady: Spans, near: BoolArray) -> BoolArray:
    """Which faces of a track are certain, and were found themselves."""
    frames = faces.frames[rows]
    clear = spans_hold(steady, faces.times[frames]) & ~near
    clear &= one_face(faces, rows, sure=SURE_SCORE)
    # A track that is in a frame twice is left unmasked only as a whole.
    _, first, of = np.unique(frames, return_index=True, return_inverse=True)
    whole: BoolArray = np.logical_and.reduceat(clear, first)[of]
    return whole


def _tainted(faces: FaceTable, rivals: Positions, ours: BoolArray) -> BoolArray:
    """Faces in an encounter that somebody who is to be masked has a part in.

    Whoever comes close to somebody who did may have become that one: so an encounter counts as a
    whole, and together with all that it touches.
    """
    encounter = np.full(len(faces.frames), -1)
    close = struck(rivals, len(faces.frames))
    count = 0
    for _, rows in faces.by_track():
        near = faces.around(rows, close[rows])
        begins = near & ~np.concatenate([[False], near[:-1]])
        encounter[rows[near]] = count + np.cumsum(begins)[near] - 1
        count += int(begins.sum())
    tainted = np.zeros(count + 1, np.bool_)
    first, second = rivals[ours[rivals[:, 0]]].T
    tainted[encounter[first[~ours[second]]]] = True
    links = encounter[np.stack([first, second])[:, ours[second]]]
    while True:
        reached = links[0][tainted[links[1]] & ~tainted[links[0]]]
        if not len(reached):
            break
        tainted[reached] = True
    found: BoolArray = tainted[encounter]
    return found
