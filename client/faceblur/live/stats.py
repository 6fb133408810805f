"""What is known about a running camera, as plain numbers; never an image."""

from __future__ import annotations

import logging
import math
import threading
import time
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from faceblur.detection.repeats import Repeats

logger = logging.getLogger(__name__)

CameraState = Literal["starting", "running", "degraded", "offline", "hung", "stopped"]
"""starting: no frame yet. running: frames are checked and masked. degraded: frames come, but are
not checked, so nothing of them is shown. offline: no frames come; the source is tried again and
again. hung: its loop does not turn, so nothing goes out. stopped: it was told to, or its file has
ended."""

SinkState = Literal["starting", "running", "waiting", "stopped"]
"""starting: it opens its target. running: it takes frames. waiting: it failed, and is tried again
after a pause. stopped: the camera stopped."""

HUNG_S: Final = 30.0
"""A loop that has not turned for so long counts as dead."""

DELAY_BUCKETS_S: Final = (
    0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the delay histogram's buckets, seconds; one more goes to infinity."""

_RECENT: Final = 2048
"""Delays that percentiles are computed from."""

_RATE_WINDOW: Final = 64
"""Frames that the pace is computed from."""


@dataclass(frozen=True, kw_only=True)
class DelayStats:
    """Delays since the start, as a Prometheus histogram wants them, and recent percentiles.

    Attributes:
        cumulative: For each of `DELAY_BUCKETS_S` how many delays were at most so long.
        count: How many there were.
        sum_s: Their sum, seconds.
        p50_s: Median of the last 2048, seconds; NaN without any.
        p99_s: 99th percentile of the same.
    """

    cumulative: tuple[int, ...]
    count: int
    sum_s: float
    p50_s: float
    p99_s: float


@dataclass(frozen=True, kw_only=True)
class SinkStats:
    """One sink of a camera.

    Attributes:
        label: Without credentials.
        frames: Frames that it has written.
        dropped: Frames that it did not take in time, or that came while it was away.
        restarts: How often it was restarted.
        delay: From a frame's arrival at the source to the end of its writing.
        last_error: Why it failed last, without credentials; empty if it never did.
    """

    label: str
    state: SinkState
    frames: int
    dropped: int
    restarts: int
    delay: DelayStats
    last_error: str


@dataclass(frozen=True, kw_only=True)
class CameraStats:
    """One camera; counters grow from its start.

    Every frame of the source ends as exactly one of: checked (and handed over), dropped, held
    back, or still under way: `frames_in` ≥ `frames_checked` + `frames_dropped` + `frames_held`.

    Attributes:
        source: Without credentials.
        width: Of the frames, pixels; 0 before the first, as is `height`.
        fps: Frames per second that came in over the last seconds.
        lookahead_s: Of the delay, what the look-ahead costs at that rate, seconds; 0 before it is
            known.
        frames_in: Frames that the source delivered (after its fps cap).
        frames_checked: Frames that were checked, masked where faces are, and handed to the sinks.
        frames_masked: Of these, how many have at least one face masked.
        frames_dropped: Frames left out since newer ones had come.
        frames_held: Frames that could not be checked and were therefore not shown.
        frames_placeholder: Frames without anything of the source (or repeats of a masked
            frame) that were handed to the sinks instead.
        frames_out: All that was handed to the sinks: checked ones and placeholders.
        faces: Masks drawn, over all frames.
        reconnects: How often the source was reopened.
        view: Where what moves is masked: "learnt", or "learning" while the whole frame is masked,
            and how much of the background is known; empty elsewhere.
        delay: Glass to glass: from a frame's arrival at the source to its hand-over, masked, to
            the sinks. Placeholders do not count.
        last_error: Why frames were last not checked or did not come, without credentials; empty
            if that never happened.
        state_since_s: Seconds that it has been in this state.
    """

    name: str
    state: CameraState
    source: str
    width: int = 0
    height: int = 0
    fps: float = 0.0
    lookahead_s: float = 0.0
    frames_in: int = 0
    frames_checked: int = 0
    frames_masked: int = 0
    frames_dropped: int = 0
    frames_held: int = 0
    frames_placeholder: int = 0
    frames_out: int = 0
    faces: int = 0
    reconnects: int = 0
    view: str = ""
    delay: DelayStats
    sinks: tuple[SinkStats, ...] = ()
    last_error: str
    state_since_s: float = 0.0


class DelayMeter:
    """Collects delays; safe to read from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets = [0] * (len(DELAY_BUCKETS_S) + 1)
        self._sum_s = 0.0
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def add(self, delay_s: float) -> None:
        """Count one delay."""
        with self._lock:
            self._buckets[bisect_left(DELAY_BUCKETS_S, delay_s)] += 1
            self._sum_s += delay_s
            self._recent.append(delay_s)

    def stats(self) -> DelayStats:
        """What was collected so far."""
        with self._lock:
            buckets, sum_s, recent = list(self._buckets), self._sum_s, sorted(self._recent)
        cumulative = [sum(buckets[: i + 1]) for i in range(len(DELAY_BUCKETS_S))]
        return DelayStats(
            cumulative=tuple(cumulative),
            count=sum(buckets),
            sum_s=sum_s,
            p50_s=_percentile(recent, 0.5),
            p99_s=_percentile(recent, 0.99),
        )


class Counters:
    """What a camera has done so far."""

    def __init__(self) -> None:
        self.frames_in = 0
        self.frames_checked = 0
        self.frames_masked = 0
        self.frames_placeholder = 0
        self.faces = 0
        self.delay = DelayMeter()
        self._arrivals: deque[float] = deque(maxlen=_RATE_WINDOW)

    def count_arrival(self, arrived_s: float) -> None:
        """Count a frame that came."""
        self.frames_in += 1
        self._arrivals.append(arrived_s)

    def count_output(self, faces: int, arrived_s: float | None) -> None:
        """Count a frame that went to the sinks, with so many masks; a placeholder never arrived."""
        if arrived_s is None:
            self.frames_placeholder += 1
            return
        self.frames_checked += 1
        self.frames_masked += bool(faces)
        self.faces += faces
        self.delay.add(time.monotonic() - arrived_s)

    def fps(self) -> float:
        """Of the frames that came lately; 0 if none did."""
        arrivals = list(self._arrivals)
        if len(arrivals) < 2:
            return 0.0
        span_s = max(time.monotonic(), arrivals[-1]) - arrivals[0]
        return (len(arrivals) - 1) / span_s if span_s > 0 else 0.0


class Status:
    """What a camera is doing, since when and why; each change is logged.

    Attributes:
        since_s: Since when, `time.monotonic()`.
        error: Why frames were last not checked or did not come, without credentials.
    """

    def __init__(self, name: str) -> None:
        self.state: CameraState = "starting"
        self.since_s = time.monotonic()
        self.error = ""
        self._name = name
        self._repeats, self._is_muted = Repeats(), False

    def enter(self, state: CameraState) -> None:
        """Change the state; does nothing if it is that already."""
        if state == self.state:
            return
        self.since_s, self.state = time.monotonic(), state
        text, level = f"camera {self._name} is {state}", logging.INFO
        if state in ("degraded", "offline"):
            text, level = f"{text}: {self.error}" if self.error else text, logging.WARNING
            # One that comes and goes says so, but not each time.
            self._is_muted = not self._repeats.is_new(text)
        muted = self._is_muted and state != "stopped"
        logger.log(logging.DEBUG if muted else level, "%s", text)


def _percentile(ordered: list[float], share: float) -> float:
    """Nearest rank."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
