"""Cover for cameras: predict and hold, and look ahead as far as a delay allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Final, Generic

from faceblur.detections import Detections, FloatArray
from faceblur.errors import InputError
from faceblur.tracking.options import TrackingOptions
from faceblur.tracking.window import Frame, Window

LIVE_HOLD_S: Final = 1.0
"""Nobody knows yet whether a lost face comes back: it is held for as long as a gap may last."""

LIVE_OPTIONS: Final = TrackingOptions(hold_s=LIVE_HOLD_S, trust_s=2.0)


_PACE_COUNT: Final = 6
"""Frames whose shortest distance tells when the next one will come."""


class LiveCover(Generic[Frame]):
    """Fills in faces that the detector missed, a fixed number of frames behind the camera.

    Attributes:
        lookahead: Frames by which the output lags behind, at most. With 0 a face is masked from
            the frame on in which it is found, and held where it is lost; with more, the frames
            before it was found are masked too, and gaps that end in time are filled from both
            sides. A slow camera waits for fewer: what is further ahead than `lead_s` and `gap_s`
            reach does not change the masks of a frame.

    Raises:
        InputError: The look-ahead is negative.
    """

    def __init__(
        self,
        options: TrackingOptions = LIVE_OPTIONS,
        *,
        threshold: float,
        lookahead: int = 0,
    ) -> None:
        if lookahead < 0:
            raise InputError(f"cannot look ahead by {lookahead} frames: use 0 or more")
        self.lookahead = lookahead
        self._ahead_s = options.ahead_s
        self._times: deque[float] = deque(maxlen=_PACE_COUNT)
        self._window: Window[Frame] = Window(
            replace(options, max_frames=lookahead + 1), threshold=threshold
        )

    def push(
        self,
        frame: Frame,
        found: Detections | None,
        *,
        time_s: float,
        thumbnail: FloatArray | None = None,
    ) -> list[tuple[Frame, Detections]]:
        """Take in the next frame (see `Window.push`); give back those that are due."""
        self._window.push(frame, found, time_s=time_s, thumbnail=thumbnail)
        due = []
        self._times.append(time_s)
        while len(self._window) > self.lookahead or self._is_settled():
            due.append(self._window.pop())
        return due

    def _is_settled(self) -> bool:
        """Whether the next frame will be too late to change the masks of the oldest one."""
        if len(self._times) < 2 or not len(self._window):
            return False
        next_s = self._times[-1] + min(later - t for t, later in pairwise(self._times))
        # Between two detections, the second has to be known.
        return self._window.span_s >= 0 and next_s - self._window.oldest_s > self._ahead_s + 1e-4

    def flush(self) -> Iterator[tuple[Frame, Detections]]:
        """Give back what is left when the camera stops."""
        while len(self._window):
            yield self._window.pop()
