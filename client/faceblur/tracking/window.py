"""Tracking in both directions: frames are held back until what comes after them is known.

Longer than other modules, for what counts in a frame is decided by all the frames that wait.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from faceblur.detection.parts import PERIOD_S, PartDetections
from faceblur.detections import Detections, FloatArray
from faceblur.tracking import motion
from faceblur.tracking.association import SWEPT_S, swept, ways
from faceblur.tracking.options import TrackingOptions
from faceblur.tracking.scene_cuts import CutDetector
from faceblur.tracking.tracker import SURE, Track, Tracker

Frame = TypeVar("Frame")

_NEAR_S: Final = 0.15
"""A face is as large as it is found so long before or after, or in the detections next to it."""
_TRUST_DETECTIONS: Final = 4
"""As `TrackingOptions.trust_s`, in detections: few a second are each good for longer."""
_HOLD_TURNS: Final = 2
"""A small face is held, at least, until a close pass over its place has missed it a second time."""
_TRUST_TURNS: Final = 4
"""As `TrackingOptions.trust_s`, of what a close pass shows: at four turns as at four frames."""
_REST_S: Final = 4 * PERIOD_S
"""A face is held no longer though nobody has searched its place: the detector is too slow."""
_PART: Final = 1.4
"""Unless it is larger by this much: then it was found in part."""
_PART_RARE: Final = 1.2
"""The same where detections are so rare that only the one before or behind can tell."""


@dataclass(frozen=True, eq=False)
class _Slot(Generic[Frame]):
    """A frame that waits, and what was found in it.

    Attributes:
        last_detected: Number of the latest frame until here that the detector was asked about.
        rhythm_s: Time from the detection before that one to it; 0 if there was none.
    """

    frame: Frame
    number: int
    time_s: float
    scene: int
    found: Detections
    tracks: list[Track]
    last_detected: int
    rhythm_s: float


@dataclass(frozen=True, eq=False)
class _Pass:
    """The parts of a frame that were searched closely, (K, 4), x1 y1 x2 y2."""

    number: int
    time_s: float
    boxes: FloatArray


class Window(Generic[Frame]):
    """Frames on their way from the detector to the masker, a bounded number at a time.

    A frame is masked wherever a track passes that was above the threshold at some time: where it
    was found, at any score; between two sightings; and for a while before the first and after
    the last one.
    """

    def __init__(self, options: TrackingOptions, *, threshold: float) -> None:
        self._options = options
        self._tracker = Tracker(threshold=threshold, gap_s=options.gap_s)
        self._cuts = CutDetector()
        self._slots: deque[_Slot[Frame]] = deque()
        self._tracks: list[Track] = []
        self._passes: deque[_Pass] = deque()
        self._next = 0
        self._last_detected = -1
        """Number of the latest frame that the detector was asked about."""
        self._last_detected_s = -math.inf
        self._rhythm_s = 0.0

    def __len__(self) -> int:
        """Frames that are held back."""
        return len(self._slots)

    @property
    def oldest_s(self) -> float:
        """Time of the oldest frame held back; there must be one."""
        return self._slots[0].time_s

    @property
    def span_s(self) -> float:
        """Time between the oldest frame held back and the newest checked one, seconds."""
        return self._last_detected_s - self.oldest_s if self._slots else 0.0

    def push(
        self,
        frame: Frame,
        found: Detections | None,
        *,
        time_s: float,
        thumbnail: FloatArray | None = None,
        starts_scene: bool = False,
    ) -> None:
        """Take in the next frame.

        Args:
            frame: Anything; it is given back by `pop`.
            found: What the detector found, at scores from `TrackingOptions.min_score` on; None if
                it was not asked.
            time_s: When the frame is shown; later than the one before.
            thumbnail: As from `cuts.thumbnail`; None if cuts do not matter.
            starts_scene: It is known to begin another scene.
        """
        cut = thumbnail is not None and self._cuts.is_cut(thumbnail)
        if cut or starts_scene:
            self._tracker.cut()
        number = self._next
        self._next += 1
        tracks: list[Track] = []
        if found is not None:
            if self._last_detected >= 0:
                self._rhythm_s = time_s - self._last_detected_s
            self._last_detected, self._last_detected_s = number, time_s
            if isinstance(found, PartDetections):
                self._passes.append(_Pass(number, time_s, found.searched))
            tracks = self._tracker.update(number, time_s, found)
            self._tracks += [track for track in tracks if len(track.frames) == 1]
        self._slots.append(
            _Slot(
                frame,
                number,
                time_s,
                self._tracker.scene,
                Detections.empty() if found is None else found,
                tracks,
                self._last_detected,
                self._rhythm_s,
            )
        )

    def pop(self) -> tuple[Frame, Detections]:
        """Give back the oldest frame, and all that is to be masked in it, each with its track."""
        slot = self._slots.popleft()
        counts = self._counts(slot)
        seen = slot.found.select(counts)
        # What is found faintly may be anybody: it is of no track.
        taken = (track for track, count in zip(slot.tracks, counts, strict=True) if count)
        numbers = [track.number if track.confirmed else 0 for track in taken]
        here = set(map(id, slot.tracks))
        following = next((s.number for s in self._slots if s.last_detected == s.number), None)
        filled = [
            (row, track.number)
            for track in self._tracks
            if track.confirmed
            for row in (
                self._beside(track, slot, following)
                if id(track) in here
                else [self._fill(track, slot, following)]
            )
            if row is not None
        ]
        if slot.last_detected < slot.number and following is not None:
            # Who goes which way is in doubt: they are of no track.
            filled += [(row, 0) for row in self._ways(slot, following)]
        self._forget(slot)
        rows = np.concatenate([seen.rows(), *(row[None] for row, _ in filled)])
        return slot.frame, Detections.from_rows(rows, [*numbers, *(of for _, of in filled)])

    def _counts(self, slot: _Slot[Frame]) -> npt.NDArray[np.bool_]:
        """Which detections of a frame are masked where they were found.

        A face in motion blur is found faintly, in the wrong size, and far from where it was. So
        something faint counts while a sure face nearby has just been lost, or is about to be found.
        """
        counts = np.array([t.confirmed for t in slot.tracks], np.bool_)
        if counts.all():
            return counts
        for track in self._tracks:
            if not track.confirmed or track.scene != slot.scene:
                continue
            # Known on one side alone: between two sightings it is masked anyway.
            end = track.times[-1] < slot.time_s
            at = -1 if end else 0
            if not end and track.times[0] <= slot.time_s:
                continue
            elapsed_s = abs(slot.time_s - track.times[at])
            if elapsed_s > SWEPT_S or track.evidence(end=end) < SURE:
                continue
            near = swept(track.rows[at][:4], slot.found.boxes)
            for i, other in enumerate(slot.tracks):
                begun_s = other.times[0 if end else -1]
                # What was there before it was lost is something else.
                is_new = begun_s > track.times[at] if end else begun_s < track.times[at]
                counts[i] |= near[i] and is_new
        return counts

    def _beside(
        self, track: Track, slot: _Slot[Frame], following: int | None
    ) -> list[FloatArray | None]:
        """Where else a track may be in a frame in which it was found."""
        at = bisect_left(track.frames, slot.number)
        if not track.leapt[at]:
            return [self._whole(track, slot)]
        # What was found far away may be something else.
        return [self._whole(track, slot), self._fill(track.without(at), slot, following)]

    def _whole(self, track: Track, slot: _Slot[Frame]) -> FloatArray | None:
        """The whole of a face that was found too small; None if it was not.

        What comes out from behind something, or into the frame, is found as the part that the
        detector makes out, while more of it shows.
        """
        times, rows = track.times, track.rows
        at = bisect_left(track.frames, slot.number)
        near_s = max(_NEAR_S, self._rhythm_at(slot) + motion.CLOCK_S)
        part = _PART if near_s <= _NEAR_S else _PART_RARE
        near = range(
            bisect_left(times, slot.time_s - near_s), bisect_left(times, slot.time_s + near_s)
        )
        largest = max(near, key=lambda other: motion.area(rows[other]))
        if motion.area(rows[largest]) < part * motion.area(rows[at]):
            return None
        used = motion.recent(times, largest, step=1 if largest > at else -1)
        pace = motion.speed(times[used], rows[used])
        whole = motion.move(rows[largest], pace, slot.time_s - times[largest])
        # It may have come nearer, and look larger for that.
        return whole if motion.area(whole) >= part * motion.area(rows[at]) else None

    def _fill(self, track: Track, slot: _Slot[Frame], following: int | None) -> FloatArray | None:
        """Where a track is in a frame in which it was not found; None if it is not there."""
        if track.scene != slot.scene:
            return None
        times, rows, options = track.times, track.rows, self._options
        after = bisect_left(track.frames, slot.number)
        before = after - 1
        if before >= 0 and after < len(times):
            return motion.interpolate(
                rows[before],
                rows[after],
                since_s=slot.time_s - times[before],
                until_s=times[after] - slot.time_s,
                missed=slot.last_detected == slot.number and not track.is_small(end=True),
            )
        at, step, limit_s = (before, -1, options.hold_s) if before >= 0 else (0, 1, options.lead_s)
        elapsed_s = slot.time_s - times[at]
        is_small, evidence = track.is_small(end=step < 0), track.evidence(end=step < 0)
        # Where the detector did not run, nothing speaks against the track.
        is_between = slot.last_detected < slot.number and track.frames[at] == (
            slot.last_detected if step < 0 else following
        )
        least_s = _TRUST_DETECTIONS * self._rhythm_at(slot)
        reach_s = options.extent_s(limit_s, evidence, least_trust_s=least_s)
        if is_small:
            is_between = is_between or self._is_unseen(track, at, slot)
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
        return motion.extend(
            rows[at], pace if is_known else None, elapsed_s, rhythm_s=self._rhythm_at(slot)
        )

    def _rhythm_at(self, slot: _Slot[Frame]) -> float:
        """Time between detections about a frame that was popped, seconds."""
        return max([slot.rhythm_s, *(later.rhythm_s for later in islice(self._slots, 1))])

    def _is_unseen(self, track: Track, at: int, slot: _Slot[Frame]) -> bool:
        """Whether nobody searched closely where a small face was, until or since it was seen."""
        if abs(slot.time_s - track.times[at]) > _REST_S:
            return False
        seen = track.frames[at]
        first, last = (seen + 1, slot.number) if seen < slot.number else (slot.number, seen - 1)
        x, y = (track.rows[at][:2] + track.rows[at][2:4]) / 2
        return not any(
            ((each.boxes[:, :2] <= (x, y)) & (each.boxes[:, 2:] >= (x, y))).all(axis=1).any()
            for each in self._passes
            if first <= each.number <= last
        )

    def _ways(self, slot: _Slot[Frame], following: int) -> list[FloatArray]:
        """Faces between two detections, wherever who is who is in doubt."""
        here = [track for track in self._tracks if track.confirmed and track.scene == slot.scene]
        before = [seen for t in here if (seen := _sighting(t, slot.last_detected, leaving=True))]
        after = [seen for t in here if (seen := _sighting(t, following, leaving=False))]
        if not before or not after:
            return []
        since_s, until_s = slot.time_s - before[0].time_s, after[0].time_s - slot.time_s
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

    def _forget(self, slot: _Slot[Frame]) -> None:
        """Drop what frames after this one do not need."""
        live = set(map(id, self._tracker.live))
        hold_s = self._options.hold_s
        self._tracks = [
            t
            for t in self._tracks
            if id(t) in live
            or slot.time_s - t.times[-1] <= (_REST_S if t.is_small(end=True) else hold_s)
        ]
        while self._passes and self._passes[0].time_s < slot.time_s - 2 * _REST_S:
            self._passes.popleft()
        for track in self._tracks:
            track.forget(slot.number)


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


def fill_gaps(
    checked: Iterable[tuple[Frame, Detections | None]],
    *,
    options: TrackingOptions,
    threshold: float,
    time_s: Callable[[Frame], float],
    thumbnail: Callable[[Frame], FloatArray] | None = None,
    starts_scene: Callable[[Frame], bool] | None = None,
) -> Iterator[tuple[Frame, Detections]]:
    """Fill in the faces that the detector missed, from both sides.

    Every frame comes out once, in order, with at least the faces that were found in it above the
    threshold. Boxes that are filled in have score 0. At most `options.max_frames` frames are held
    back, and no more than `options` needs to look ahead.

    Args:
        checked: Frames in order, each with what the detector found at scores from
            `options.min_score(threshold)` on, or None if it was not asked.
        options: How far masks reach.
        threshold: Lowest score that counts as a face, 0-1.
        time_s: When a frame is shown, seconds; rises strictly.
        thumbnail: A frame's thumbnail, as from `cuts.thumbnail`; None to ignore camera cuts.
        starts_scene: Whether a frame is known to begin another scene.
    """
    window: Window[Frame] = Window(options, threshold=threshold)
    for frame, found in checked:
        small = None if thumbnail is None else thumbnail(frame)
        cut = starts_scene is not None and starts_scene(frame)
        window.push(frame, found, time_s=time_s(frame), thumbnail=small, starts_scene=cut)
        while len(window) >= options.max_frames or window.span_s > options.ahead_s:
            yield window.pop()
    while len(window):
        yield window.pop()
