"""Cover for cameras: predict and hold, and look ahead as far as a delay allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Generic

from faceblur.detections import Detections, FloatArray
from faceblur.errors import InputError
from faceblur.tracking.options import TrackingOptions
from faceblur.tracking.window import Frame, Window

LIVE_HOLD_S: Final = 1.0
"""Nobody knows yet whether a lost face comes back: it is held for as long as a gap may last."""

LIVE_OPTIONS: Final = TrackingOptions(hold_s=LIVE_HOLD_S, trust_s=2.0)


class LiveCover(Generic[Frame]):
    """Fills in faces that the detector missed, a fixed number of frames behind the camera.

    Attributes:
        lookahead: Frames by which the output lags behind. With 0 a face is masked from the frame
            on in which it is found, and held where it is lost; with more, the frames before it
            was found are masked too, and gaps that end in time are filled from both sides.

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
    ) -> tuple[Frame, Detections] | None:
        """Take in the next frame (see `Window.push`); give back the one that is due, if any."""
        self._window.push(frame, found, time_s=time_s, thumbnail=thumbnail)
        return self._window.pop() if len(self._window) > self.lookahead else None

    def flush(self) -> Iterator[tuple[Frame, Detections]]:
        """Give back what is left when the camera stops."""
        while len(self._window):
            yield self._window.pop()
