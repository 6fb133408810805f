"""Tracking in both directions: frames are held back until what comes after them is known."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from faceblur.detection.parts import PartDetections
from faceblur.detections import Detections, FloatArray
from faceblur.tracking import gaps
from faceblur.tracking.association import SWEPT_S, swept
from faceblur.tracking.gaps import REST_S, Moment, Pass
from faceblur.tracking.options import TrackingOptions
from faceblur.tracking.scene_cuts import CutDetector
from faceblur.tracking.tracker import SURE, Track, Tracker

Frame = TypeVar("Frame")


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
        self._passes: deque[Pass] = deque()
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
                self._passes.append(Pass(number, time_s, found.searched))
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
        moment = self._moment(slot)
        filled = [
            (row, track.number)
            for track in self._tracks
            if track.confirmed
            for row in (
                gaps.beside(track, moment, self._options)
                if id(track) in here
                else [gaps.fill(track, moment, self._options)]
            )
            if row is not None
        ]
        # Who goes which way is in doubt: they are of no track.
        filled += [(row, 0) for row in gaps.between(self._tracks, moment)]
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

    def _moment(self, slot: _Slot[Frame]) -> Moment:
        """A frame that was popped, among those that wait."""
        return Moment(
            number=slot.number,
            time_s=slot.time_s,
            scene=slot.scene,
            last_detected=slot.last_detected,
            following=next((s.number for s in self._slots if s.last_detected == s.number), None),
            rhythm_s=max([slot.rhythm_s, *(later.rhythm_s for later in islice(self._slots, 1))]),
            passes=self._passes,
        )

    def _forget(self, slot: _Slot[Frame]) -> None:
        """Drop what frames after this one do not need."""
        live = set(map(id, self._tracker.live))
        hold_s = self._options.hold_s
        self._tracks = [
            t
            for t in self._tracks
            if id(t) in live
            or slot.time_s - t.times[-1] <= (REST_S if t.is_small(end=True) else hold_s)
        ]
        while self._passes and self._passes[0].time_s < slot.time_s - 2 * REST_S:
            self._passes.popleft()
        for track in self._tracks:
            track.forget(slot.number)


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
