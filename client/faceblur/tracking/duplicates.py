"""Where a detector finds one face twice: two boxes in a frame, but eyes and mouth in one place.

It does so with faces that fill much of the image. Somebody else is no duplicate however close: of
two people each has eyes of their own, and where one hides them the detector finds none, or guesses
them a good part of a face away. What is not sure is somebody else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from faceblur.boxes import box_iou, box_overlap
from faceblur.detections import Float64Array
from faceblur.tracking.face_table import CLOCK_S, BoolArray, FaceTable, Positions

_APART: Final = 0.25
"""Mean distance of the landmarks of two duplicates, at most, in sizes of the smaller box."""
_FARTHEST: Final = 0.33
"""Of any of the five."""
_SPREAD: Final = 0.25
"""Landmarks closer to each other than this, in sizes of their box, say nothing."""
_MIN_IOU: Final = 0.3
_MAX_RATIO: Final = 1.6
_NESTED: Final = 0.6
"""Share of the smaller box that lies in the larger one, where one of them was filled in."""
_LINK_S: Final = 0.5
"""A track that was a duplicate is filled in as one for so long, before and after."""


def are_duplicates(boxes: Float64Array, landmarks: Float64Array) -> BoolArray:
    """Say which of some boxes are of one face.

    Args:
        boxes: (N, 4) as found, pixels.
        landmarks: (N, 5, 2) likewise.

    Returns:
        (N, N), symmetric; no box is a duplicate of itself.
    """
    sizes = _sizes(boxes)
    smaller = np.minimum(sizes[:, None], sizes[None])
    apart = np.hypot(*np.moveaxis(landmarks[:, None] - landmarks[None], -1, 0))
    apart /= smaller[..., None]
    told = np.ptp(landmarks, axis=1).max(axis=-1) >= _SPREAD * sizes
    found: BoolArray = (apart.mean(-1) <= _APART) & (apart.max(-1) <= _FARTHEST)
    found &= (box_iou(boxes, boxes) >= _MIN_IOU) & told[:, None] & told[None]
    found &= np.maximum(sizes[:, None], sizes[None]) <= _MAX_RATIO * smaller
    np.fill_diagonal(found, False)
    return found


def duplicate_pairs(faces: FaceTable) -> tuple[Positions, Positions]:
    """Find the duplicates of a video among faces of different tracks.

    Returns:
        (P, 2) positions of faces that were found twice, each pair both ways; and (Q, 2) of those
        where at least one was filled in, in a track that is of a duplicate shortly before or after.
    """
    both: list[Positions] = []
    half: list[Positions] = []
    met: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    for part in faces.crowded():
        rows = part[faces.scores[part] > 0]
        pairs = rows[np.argwhere(are_duplicates(faces.boxes[rows], faces.landmarks[rows]))]
        tracks = faces.tracks[pairs]
        pairs = pairs[(tracks[:, 0] != tracks[:, 1]) & (tracks > 0).all(axis=1)]
        both.append(pairs)
        for one, other in faces.tracks[pairs].tolist():
            met[one, other].append(float(faces.times[faces.frames[part[0]]]))
    for part in faces.crowded() if met else ():
        time_s = float(faces.times[faces.frames[part[0]]])
        filled = faces.scores[part] == 0
        nested = _nested(faces.boxes[part]) & (filled[:, None] | filled[None])
        half += [
            part[[[i, j]]]
            for i, j in np.argwhere(nested)
            if _near(met.get((int(faces.tracks[part[i]]), int(faces.tracks[part[j]])), []), time_s)
        ]
    nothing = np.zeros((0, 2), np.int64)
    return np.concatenate([nothing, *both]), np.concatenate([nothing, *half])


def one_face(faces: FaceTable, rows: Positions, *, sure: float) -> BoolArray:
    """Say where all boxes of a track in a frame are of one face that was found well.

    Args:
        faces: Those of a video.
        rows: Positions of the faces of one track, rising.
        sure: The score of a face that was found well, at least.

    Returns:
        For each of the faces, whether that is so in its frame.
    """
    _, first, of = np.unique(faces.frames[rows], return_index=True, return_inverse=True)
    clear = np.zeros(len(first), np.bool_)
    for i, part in enumerate(np.split(rows, first[1:])):
        best = int(np.argmax(faces.scores[part]))
        clear[i] = faces.scores[part[best]] >= sure
        if clear[i] and len(part) > 1:
            same = are_duplicates(faces.boxes[part], faces.landmarks[part])[best]
            same |= _nested(faces.boxes[part])[best] & (faces.scores[part] == 0)
            same[best] = True
            clear[i] = same.all()
    found: BoolArray = clear[of]
    return found


def linked(
    count: int, pairs: Iterable[Sequence[int]], apart: Iterable[Sequence[int]]
) -> Iterator[list[int]]:
    """Put things together that are pairs, and all that these are paired with.

    Args:
        count: How many things there are: 0, 1, 2 and so on.
        pairs: Which belong together.
        apart: Which never do, whatever they are paired with; each pair both ways.

    Yields:
        Each group, by its first thing.
    """
    groups = [[thing] for thing in range(count)]
    foes: list[set[int]] = [set() for _ in range(count)]
    for one, other in apart:
        foes[one].add(other)
    for one, other in pairs:
        into, of = groups[one], groups[other]
        if into is of or not foes[into[0]].isdisjoint(of):
            continue
        foes[into[0]] |= foes[of[0]]
        into += of
        for thing in of:
            groups[thing] = into
    for thing, group in enumerate(groups):
        if group[0] == thing:
            yield group


def _near(times: list[float], time_s: float) -> bool:
    return any(abs(time_s - each) <= _LINK_S + CLOCK_S for each in times)


def _nested(boxes: Float64Array) -> BoolArray:
    areas = _sizes(boxes) ** 2
    shared = box_overlap(boxes, boxes)[0]
    found: BoolArray = shared >= _NESTED * np.minimum(areas[:, None], areas[None])
    return found


def _sizes(boxes: Float64Array) -> Float64Array:
    sizes: Float64Array = np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(-1), 1e-6))
    return sizes
