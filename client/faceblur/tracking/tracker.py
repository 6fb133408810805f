"""Link the detections of consecutive frames into tracks."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from faceblur.detection.parts import PERIOD_S, PartDetections
from faceblur.detections import Detections, FloatArray
from faceblur.tracking import motion
from faceblur.tracking.association import affinities, leap, pair, stroll

_GAIN: Final = 0.4
"""Share of a surprise that is put down to a change of speed (an alpha-beta filter)."""
_PATIENCE_S: Final = 0.05
_PATIENCE_PER_EVIDENCE_S: Final = 0.5
"""A track waits the longer for its next detection the more it has had: noise must not add up."""
_EVIDENCE_COUNT: Final = 6
"""Detections at an end of a track that tell how sure it is there."""
_PATIENCE_TURNS: Final = 2.2
"""What parts of a frame show is waited for until it has been missed once."""
SURE: Final = 1.0
"""Evidence for a face that is searched for far away."""
_FOLLOWED: Final = 3
"""Sightings after which a pace is known that the next one can be told by."""


Value = TypeVar("Value")


@dataclass(eq=False)
class Track:
    """One face for as long as it can be followed.

    Attributes:
        scene: Counts camera cuts; a track never crosses one.
        number: Of all tracks, from 1 on.
        frames: Numbers of the frames in which it was found, rising. Old ones are forgotten.
        times: Their times, seconds.
        rows: The face in each of them, (15,) as in `Detections.rows`.
        certain: For each, whether it is surely the same face as the one before.
        leapt: For each, whether it is far from where the face was expected.
        close: For each, whether only a close pass over a part of the frame showed it.
        confirmed: Its score has been above the threshold.
        pace: (4,) speed of the box's edges, pixels per second.
    """

    scene: int
    number: int = 0
    frames: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    rows: list[FloatArray] = field(default_factory=list)
    certain: list[bool] = field(default_factory=list)
    leapt: list[bool] = field(default_factory=list)
    close: list[bool] = field(default_factory=list)
    confirmed: bool = False
    pace: FloatArray = field(default_factory=lambda: np.zeros(4, np.float32))

    def add(
        self,
        frame: int,
        time_s: float,
        row: FloatArray,
        *,
        confirms: bool,
        certain: bool,
        leapt: bool = False,
        close: bool = False,
    ) -> None:
        """Take up the detection in one more frame."""
        if self.times:
            elapsed_s = np.float32(time_s - self.times[-1])
            expected = self.rows[-1][:4] + self.pace * elapsed_s
            surprise = (row[:4] - expected) / elapsed_s
            self.pace = self.pace + surprise * np.float32(_GAIN if len(self.times) > 1 else 1)
        self.frames.append(frame)
        self.times.append(time_s)
        self.rows.append(row)
        self.certain.append(certain)
        self.leapt.append(leapt)
        self.close.append(close)
        self.confirmed = self.confirmed or confirms

    def evidence(self, *, end: bool) -> float:
        """How sure it is at its end, or at its beginning: the squares of the scores there, summed.

        A face that was clear a while ago says little of what has been found faintly since.
        """
        near = self.rows[-_EVIDENCE_COUNT:] if end else self.rows[:_EVIDENCE_COUNT]
        return float(sum(row[4] ** 2 for row in near))

    def is_small(self, *, end: bool) -> bool:
        """Whether it takes close passes, which are rare, to see it at its end or its beginning."""
        return any(self.close[-_EVIDENCE_COUNT:] if end else self.close[:_EVIDENCE_COUNT])

    def forget(self, before: int) -> None:
        """Drop what frames from number `before` on do not need."""
        spare = bisect_left(self.frames, before) - motion.FIT_COUNT
        if spare > motion.FIT_COUNT:
            del self.frames[:spare], self.times[:spare], self.rows[:spare], self.certain[:spare]
            del self.leapt[:spare], self.close[:spare]

    def without(self, at: int) -> Track:
        """The same, but for one of its sightings."""
        return replace(
            self,
            frames=_without(self.frames, at),
            times=_without(self.times, at),
            rows=_without(self.rows, at),
            certain=_without(self.certain, at),
            leapt=_without(self.leapt, at),
            close=_without(self.close, at),
        )


class Tracker:
    """Follows faces from frame to frame, and for a while where they are not found.

    Attributes:
        scene: How many camera cuts there have been.
        live: Tracks that a detection may still continue.
    """

    def __init__(self, *, threshold: float, gap_s: float) -> None:
        self._threshold = threshold
        self._gap_s = gap_s
        self.scene = 0
        self.live: list[Track] = []
        self._last_detected_s = math.nan
        self._last_detected = -1
        self._rhythm_s = 0.0
        self._count = 0

    def cut(self) -> None:
        """End all tracks: what comes next is another scene."""
        self.scene += 1
        self.live = []

    def update(self, frame: int, time_s: float, found: Detections) -> list[Track]:
        """Link the detections of the next frame.

        Confident detections choose first; the others may continue what is left. What is left
        over of confident ones may be a face that was swept away while nothing was found. A
        detection that continues nothing begins a track.

        Args:
            frame: The frame's number.
            time_s: Its time; later than the one before.
            found: Detections of any score.

        Returns:
            The track of each detection.
        """
        self._rhythm_s = (
            0.0 if math.isnan(self._last_detected_s) else time_s - self._last_detected_s
        )
        self._last_detected_s, before, self._last_detected = time_s, self._last_detected, frame
        # Between two detections with frames in between, nothing is known of anybody's path.
        skipped = before if frame - before > 1 else None
        self.live = [t for t in self.live if time_s - t.times[-1] <= self._patience_s(t)]
        rows = found.rows()
        close = found.close if isinstance(found, PartDetections) else np.zeros(len(found), np.bool_)
        confident = found.scores >= self._threshold
        owners, leapt = self._link(time_s, found.boxes, confident, skipped)
        tracks = []
        for i, (row, owner) in enumerate(zip(rows, owners, strict=True)):
            track = owner or self._begin()
            certain = i not in leapt and len(track.times) >= _FOLLOWED
            track.add(
                frame,
                time_s,
                row,
                confirms=bool(confident[i]),
                certain=certain,
                leapt=i in leapt,
                close=bool(close[i]),
            )
            tracks.append(track)
        return tracks

    def _begin(self) -> Track:
        self._count += 1
        track = Track(self.scene, self._count)
        self.live.append(track)
        return track

    def _patience_s(self, track: Track) -> float:
        """How long a track waits for its next detection, seconds."""
        patience_s = min(
            self._gap_s, _PATIENCE_S + _PATIENCE_PER_EVIDENCE_S * track.evidence(end=True)
        )
        if track.is_small(end=True):
            patience_s = max(patience_s, _PATIENCE_TURNS * PERIOD_S)
        return max(patience_s, 2 * self._rhythm_s)

    def _link(
        self,
        time_s: float,
        boxes: FloatArray,
        confident: npt.NDArray[np.bool_],
        skipped: int | None,
    ) -> tuple[list[Track | None], set[int]]:
        """The track that each box continues, and the boxes that are far from where it was."""
        owners: list[Track | None] = [None] * len(boxes)
        leapt: set[int] = set()
        if not self.live or not len(boxes):
            return owners, leapt
        elapsed_s = np.array([time_s - track.times[-1] for track in self.live], np.float32)
        last = np.stack([track.rows[-1][:4] for track in self.live])
        expected = last + np.stack([t.pace for t in self.live]) * elapsed_s[:, None]
        is_paced = np.array([len(track.times) > 1 for track in self.live])
        near = affinities(expected, boxes, stroll(elapsed_s, is_paced=is_paced))
        sure = np.array(
            [t.evidence(end=True) >= SURE or t.frames[-1] == skipped for t in self.live]
        )
        free = np.ones(near.shape, np.bool_)
        for fit, allowed in (
            (near, confident[None]),
            (near, ~confident[None]),
            (None, confident[None] & sure[:, None]),
        ):
            open_pairs = free & allowed
            if not open_pairs.any():
                continue
            is_leap = fit is None
            if fit is None:
                fit = affinities(last, boxes, leap(elapsed_s, rhythm_s=self._rhythm_s))
            for row, column in pair(np.where(open_pairs, fit, 0)):
                if is_leap:
                    leapt.add(column)
                owners[column] = self.live[row]
                free[row] = False
                free[:, column] = False
        return owners, leapt


def _without(values: list[Value], at: int) -> list[Value]:
    return values[:at] + values[at + 1 :]
