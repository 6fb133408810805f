"""Where a face is in a frame in which it was not found, or not as a whole."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from faceblur.detection.parts import PERIOD_S
from faceblur.detections import FloatArray
from faceblur.tracking import motion
from faceblur.tracking.association import ways
from faceblur.tracking.options import TrackingOptions
from faceblur.tracking.tracker import Track

_NEAR_S: Final = 0.15
"""A face is as large as it is found so long before or after, or in the detections next to it."""
_TRUST_DETECTIONS: Final = 4
"""As `TrackingOptions.trust_s`, in detections: few a second are each good for longer."""
_HOLD_TURNS: Final = 2
"""A small face is held, at least, until a close pass over its place has missed it a second time."""
_TRUST_TURNS: Final = 4
"""As `TrackingOptions.trust_s`, of what a close pass shows: at four turns as at four frames."""
REST_S: Final = 4 * PERIOD_S
"""A face is held no longer though nobody has searched its place: the detector is too slow."""
_PART: Final = 1.4
"""Unless it is larger by this much: then it was found in part."""
_PART_RARE: Final = 1.2
"""The same where detections are so rare that only the one before or behind can tell."""


@dataclass(frozen=True, eq=False)
class Pass:
    """The parts of a frame that were searched closely, (K, 4), x1 y1 x2 y2."""

    number: int
    time_s: float
    boxes: FloatArray


@dataclass(frozen=True, eq=False)
class Moment:
    """A frame, and what was asked of the detector around it.

    Attributes:
        number: Of the frame.
        time_s: When it is shown.
        scene: Counts camera cuts.
        last_detected: Number of the latest frame until here that the detector was asked about.
        following: Of the next one; None if that is not known.
        rhythm_s: Time between detections.
        passes: Those over parts of frames, before and after.
    """

    number: int
    time_s: float
    scene: int
    last_detected: int
    following: int | None
    rhythm_s: float
    passes: Sequence[Pass]

    @property
    def is_checked(self) -> bool:
        """The detector was asked about it."""
        return self.last_detected == self.number


def beside(track: Track, moment: Moment, options: TrackingOptions) -> list[FloatArray | None]:
    """Where else a track may be in a frame in which it was found."""
    at = bisect_left(track.frames, moment.number)
    if not track.leapt[at]:
        return [_whole(track, moment)]
    # What was found far away may be something else.
    return [_whole(track, moment), fill(track.without(at), moment, options)]


def fill(track: Track, moment: Moment, options: TrackingOptions) -> FloatArray | None:
    """Where a track is in a frame in which it was not found; None if it is not there."""
    if track.scene != moment.scene:
        return None
    times, rows = track.times, track.rows
    after = bisect_left(track.frames, moment.number)
    before = after - 1
    if before >= 0 and after < len(times):
        return motion.interpolate(
            rows[before],
            rows[after],
            since_s=moment.time_s - times[before],
            until_s=times[after] - moment.time_s,
            missed=moment.is_checked and not track.is_small(end=True),
        )
    at, step, limit_s = (before, -1, options.hold_s) if before >= 0 else (0, 1, options.lead_s)
    elapsed_s = moment.time_s - times[at]
    is_small, evidence = track.is_small(end=step < 0), track.evidence(end=step < 0)
    # Where the detector did not run, nothing speaks against the track.
    nearest = moment.last_detected if step < 0 else moment.following
    is_between = not moment.is_checked and track.frames[at] == nearest
    least_s = _TRUST_DETECTIONS * moment.rhythm_s
    reach_s = options.extent_s(limit_s, evidence, least_trust_s=least_s)
    if is_small:
        is_between = is_between or _is_unseen(track, at, moment)
        reach_s = options.extent_s(
            max(limit_s, _HOLD_TURNS * PERIOD_S) if step < 0 else limit_s,
            evidence,
            least_trust_s=max(least_s, _TRUST_TURNS * PERIOD_S),
        )
    if not (abs(elapsed_s) <= reach_s + motion.CLOCK_S or is_between):
        return None
    used = motion.recent(
        times, at, step=step, within_s=2.2 * PERIOD_S if is_small else motion.FIT_S
    )
    pace = motion.speed(times[used], rows[used])
    is_known = used.stop - used.start > 1
    if is_between:
        return motion.extend_undetected(rows[at], pace if is_known else None, elapsed_s)
    return motion.extend(rows[at], pace if is_known else None, elapsed_s, rhythm_s=moment.rhythm_s)


def between(tracks: Sequence[Track], moment: Moment) -> list[FloatArray]:
    """Faces between two detections, wherever who is who is in doubt."""
    following = moment.following
    if moment.is_checked or following is None:
        return []
    here = [track for track in tracks if track.confirmed and track.scene == moment.scene]
    before = [seen for t in here if (seen := _sighting(t, moment.last_detected, leaving=True))]
    after = [seen for t in here if (seen := _sighting(t, following, leaving=False))]
    if not before or not after:
        return []
    since_s, until_s = moment.time_s - before[0].time_s, after[0].time_s - moment.time_s
    return [
        motion.interpolate(before[i].row, after[j].row, since_s=since_s, until_s=until_s)
        for i, j in ways(
            np.stack([seen.row[:4] for seen in before]),
            np.stack([seen.row[:4] for seen in after]),
            since_s + until_s,
        )
        # One and the same was filled in already.
        if before[i].track is not after[j].track
    ]


def _whole(track: Track, moment: Moment) -> FloatArray | None:
    """The whole of a face that was found too small; None if it was not.

    What comes out from behind something, or into the frame, is found as the part that the
    detector makes out, while more of it shows.
    """
    times, rows = track.times, track.rows
    at = bisect_left(track.frames, moment.number)
    near_s = max(_NEAR_S, moment.rhythm_s + motion.CLOCK_S)
    part = _PART if near_s <= _NEAR_S else _PART_RARE
    near = range(
        bisect_left(times, moment.time_s - near_s), bisect_left(times, moment.time_s + near_s)
    )
    largest = max(near, key=lambda other: motion.area(rows[other]))
    if motion.area(rows[largest]) < part * motion.area(rows[at]):
        return None
    used = motion.recent(times, largest, step=1 if largest > at else -1)
    pace = motion.speed(times[used], rows[used])
    whole = motion.move(rows[largest], pace, moment.time_s - times[largest])
    # It may have come nearer, and look larger for that.
    return whole if motion.area(whole) >= part * motion.area(rows[at]) else None


def _is_unseen(track: Track, at: int, moment: Moment) -> bool:
    """Whether nobody searched closely where a small face was, until or since it was seen."""
    if abs(moment.time_s - track.times[at]) > REST_S:
        return False
    seen = track.frames[at]
    first, last = (seen + 1, moment.number) if seen < moment.number else (moment.number, seen - 1)
    x, y = (track.rows[at][:2] + track.rows[at][2:4]) / 2
    return not any(
        ((each.boxes[:, :2] <= (x, y)) & (each.boxes[:, 2:] >= (x, y))).all(axis=1).any()
        for each in moment.passes
        if first <= each.number <= last
    )


@dataclass(frozen=True, eq=False)
class _Sighting:
    """A face of which it is not sure where it was at the detection before, or is at the next."""

    track: Track
    time_s: float
    row: FloatArray


def _sighting(track: Track, number: int, *, leaving: bool) -> _Sighting | None:
    """A track in a checked frame; None if it is not there, or surely goes on from or to there."""
    at = bisect_left(track.frames, number)
    if at == len(track.frames) or track.frames[at] != number:
        return None
    link = at + 1 if leaving else at
    if link < len(track.certain) and track.certain[link]:
        return None
    return _Sighting(track, track.times[at], track.rows[at])
