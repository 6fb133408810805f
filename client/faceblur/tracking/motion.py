"""Where a face is between detections: straight motion, in boxes that grow with the doubt.

Faces are rows as in `Detections.rows`; times are in seconds, lengths in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from faceblur.detections import FloatArray

FIT_COUNT: Final = 6
"""Detections that a speed is taken from."""

FIT_S: Final = 0.5
"""Time that they may be apart."""
_DRIFT: Final = 0.3
"""Growth of each side per second, as a fraction of the face: it may turn, nod or speak."""
_ACCELERATION: Final = 4.0
"""Change of speed that is allowed for, faces per second, per second."""
_UNEVEN: Final = 0.12
"""Growth between sightings, as a fraction of the way from one to the other."""
_MAX_GROWTH: Final = 0.75
_MISSED_GROWTH: Final = 0.06
"""The same where the detector was asked: most that it misses is hidden, turned away, or false."""
_MAX_SHIFT: Final = 1.5
"""Distance that a face is expected to go unseen, in its own sizes."""
_UNDETECTED_SHIFT: Final = 6.0
"""The same between detections."""
_UNKNOWN_PACE: Final = 3.0
"""Speed allowed for between detections when it was seen only once, faces per second."""
_BRIEF_S: Final = 0.1
"""In so short a time nobody gets out of a mask."""
CLOCK_S: Final = 1e-4
"""Times closer than this are the same."""
_TREMBLE_S: Final = 1 / 30
"""Two detections that are so close in time differ as much by trembling as by motion."""


def area(row: FloatArray) -> float:
    """Of a face's box."""
    return float((row[2] - row[0]) * (row[3] - row[1]))


def speed(times: Sequence[float], rows: Sequence[FloatArray]) -> FloatArray:
    """Speed of each edge of a box, by least squares.

    Args:
        times: Of detections, rising, seconds.
        rows: (15,) each.

    Returns:
        (4,) pixels per second.
    """
    t = np.asarray(times, np.float32)
    spread = t - t.mean()
    weight = float(spread @ spread)
    if len(t) < 2 or weight == 0:
        return np.zeros(4, np.float32)
    boxes = np.stack(rows)[:, :4]
    slope = (spread @ boxes) / np.float32(weight)
    if len(t) == 2:
        apart_s = float(t[1] - t[0])
        slope = slope * np.float32(apart_s / (apart_s + _TREMBLE_S))
    return np.asarray(slope, np.float32)


def recent(times: Sequence[float], at: int, *, step: int, within_s: float = FIT_S) -> slice:
    """The detections around the end of a track that its speed is taken from.

    Args:
        times: Of all its detections, rising, seconds.
        at: Position of the one at the end.
        step: 1 if the track goes on behind it, -1 if it goes on before it.
        within_s: Time that the others may be apart from it, seconds.
    """
    last = at
    for _ in range(FIT_COUNT - 1):
        following = last + step
        if not 0 <= following < len(times) or abs(times[following] - times[at]) > within_s:
            break
        last = following
    return slice(min(at, last), max(at, last) + 1)


def extend(
    row: FloatArray, pace: FloatArray | None, elapsed_s: float, *, rhythm_s: float = 0.0
) -> FloatArray:
    """A face some time after (or, with negative time, before) it was seen.

    The box spans where the face was and where it would be by now: it may have stopped.

    Args:
        row: (15,), as it was seen.
        pace: (4,) as from `speed`; None if it was seen only once.
        elapsed_s: Seconds since then.
        rhythm_s: Time between detections. In the next one a face of unknown pace may be anywhere
            around; later on there is no telling.
    """
    if pace is None:
        is_next = abs(elapsed_s) <= rhythm_s + CLOCK_S
        far = _UNKNOWN_PACE * (abs(elapsed_s) - _BRIEF_S) if is_next else 0.0
        extra = min(_MAX_GROWTH, max(0.0, far))
        return _span_both(row, row, elapsed_s, extra=extra, most=_MISSED_GROWTH)
    return _span_both(row, move(row, pace, elapsed_s), elapsed_s, most=_MISSED_GROWTH)


def extend_undetected(row: FloatArray, pace: FloatArray | None, elapsed_s: float) -> FloatArray:
    """The same between detections: it may have gone far, and at an unknown pace."""
    if pace is None:
        extra = min(_MAX_GROWTH, _UNKNOWN_PACE * abs(elapsed_s))
        return _span_both(row, row, elapsed_s, extra=extra)
    moved = move(row, pace, elapsed_s, most=_UNDETECTED_SHIFT)
    return _span_both(row, moved, elapsed_s)


def _span_both(
    row: FloatArray,
    moved: FloatArray,
    elapsed_s: float,
    *,
    extra: float = 0.0,
    most: float = _MAX_GROWTH,
) -> FloatArray:
    box = np.concatenate([np.minimum(row[:2], moved[:2]), np.maximum(row[2:4], moved[2:4])])
    grown = _grown(box, row[2:4] - row[:2], abs(elapsed_s), most=most, extra=extra)
    return _unseen_row(grown, moved[5:].reshape(5, 2))


def move(
    row: FloatArray, pace: FloatArray, elapsed_s: float, *, most: float = _MAX_SHIFT
) -> FloatArray:
    """Where a face would be if it kept its pace, at most so many sizes away; see `extend`."""
    reach = float(most * (row[2:4] - row[:2]).mean())
    moved = row[:4] + np.clip(pace * np.float32(elapsed_s), -reach, reach)
    # Edges may close in on each other, but a face does not turn inside out.
    low, high = np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])
    shift = (low + high - row[:2] - row[2:4]) / 2
    return _unseen_row(np.concatenate([low, high]), row[5:].reshape(5, 2) + shift)


def interpolate(
    before: FloatArray, after: FloatArray, *, since_s: float, until_s: float, missed: bool = False
) -> FloatArray:
    """A face between two sightings, in a frame in which the detector missed it or was not asked."""
    part = np.float32(since_s / (since_s + until_s))
    between = before + (after - before) * part
    # A face that is half hidden at one end may be whole in between.
    centre = (between[:2] + between[2:4]) / 2
    sides = np.maximum(before[2:4] - before[:2], after[2:4] - after[:2])
    # It need not have gone at an even pace; the doubt is largest half way.
    way = np.abs(after[:2] + after[2:4] - before[:2] - before[2:4]) / 2
    half = sides / 2 + way * (4 * np.float32(_UNEVEN) * part * (1 - part))
    box = np.concatenate([centre - half, centre + half])
    most = _MISSED_GROWTH if missed else _MAX_GROWTH
    grown = _grown(box, sides, min(since_s, until_s), most=most)
    return _unseen_row(grown, between[5:].reshape(5, 2))


def _grown(
    box: FloatArray, sides: FloatArray, elapsed_s: float, *, most: float, extra: float = 0.0
) -> FloatArray:
    growth = min(most, _DRIFT * elapsed_s + _ACCELERATION / 2 * elapsed_s**2) + extra
    margin = sides * np.float32(growth)
    grown: FloatArray = np.concatenate([box[:2] - margin, box[2:] + margin])
    return grown


def _unseen_row(box: FloatArray, landmarks: FloatArray) -> FloatArray:
    """A face row with score 0: it was not seen here."""
    row: FloatArray = np.concatenate([box, [0], landmarks.ravel()]).astype(np.float32)
    return row
