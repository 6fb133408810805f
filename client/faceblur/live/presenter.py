"""From verdicts to frames that may leave: cover over time, masks, and what is shown instead."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from faceblur.detections import Detections
from faceblur.live.frame_format import FrameFormat
from faceblur.live.frames import RawFrame, SafeFrame, mask, placeholder
from faceblur.live.options import CameraOptions
from faceblur.live.scheduler import CheckedFrame
from faceblur.masks.masker import Masker
from faceblur.masks.selection import Selection
from faceblur.moving.mover import Found, MovingMask, cover_coming
from faceblur.moving.sight import Bitmap
from faceblur.tracking.live import LiveCover
from faceblur.tracking.options import MAX_DETECTION_GAP_S, too_far_apart

logger = logging.getLogger(__name__)

UNCHECKED: Final = "image withheld: faces cannot be checked"
OFFLINE: Final = "no image from the camera"

_FAR_GAPS: Final = 5
"""In a row; a single one is a frame that was dropped."""
_GAP_JITTER_S: Final = 0.1

_DEFAULT_FORMAT: Final = FrameFormat(width=640, height=360)
"""Of placeholders, until it is known how large the camera's frames are."""


@dataclass(eq=False)
class _Held:
    """A frame in the window of the look-ahead, until it is void; and what moves in it."""

    frame: RawFrame | None
    time_s: float
    found: Found | None = None

    def void(self) -> None:
        """Make it a frame that is not shown."""
        if self.frame is not None:
            self.frame.release()
            self.frame = None


class Presenter:
    """Turns what was found in a camera's frames into frames that may leave. For one thread.

    A frame is shown only if it and, with a look-ahead, all frames up to that many after it were
    checked: masks that reach back to it would be missing otherwise.

    Attributes:
        held: Frames that were not shown.
    """

    def __init__(self, options: CameraOptions) -> None:
        """Start without any frame.

        Raises:
            InputError: The mask's image cannot be read.
        """
        self._options = options
        self._masker = Masker(options.policy.mask)
        self._cover = self._new_cover()
        self._window: list[_Held] = []
        self._format = _DEFAULT_FORMAT
        self._selection: Selection | None = None
        self._moving: MovingMask | None = None
        self._clock_s = float("-inf")
        self._last: SafeFrame | None = None
        self._last_frame: RawFrame | None = None
        self._detected_s: float | None = None
        self._far_apart = 0
        self.held = 0

    @property
    def min_score(self) -> float:
        """The score from which the cover can use what the detector finds."""
        return self._options.cover.min_score(self._options.policy.detection.threshold)

    @property
    def view(self) -> str:
        """What is known of a view of which what moves is masked; empty if it is not asked for."""
        if not self._options.policy.moving.is_on:
            return ""
        moving = self._moving
        if moving is None or moving.whole:
            return f"learning {0 if moving is None else moving.known_share:.0%}"
        return "learnt"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what comes out, pixels."""
        return self._format.width, self._format.height

    def present(self, verdict: CheckedFrame) -> Iterator[SafeFrame]:
        """Take in the next frame, and give out what is due. Each has to be released."""
        frame = verdict.frame
        if frame.format != self._format:
            yield from self.restart()
            self._format = frame.format
            self._selection = self._moving = None
        self._clock_s = max(self._clock_s + 1e-3, frame.time_s)
        if verdict.faces is not None and self._options.detect_every > 1:
            self._watch_gaps()
        held = _Held(frame, self._clock_s)
        if verdict.error is not None:
            self._void()
            held.void()
            self.held += 1
        elif self._options.policy.moving.is_on:
            self._find_moving(held, frame)
        self._window.append(held)
        for due in self._cover.push(held, verdict.faces, time_s=self._clock_s):
            yield self._present(*due)

    def restart(self) -> Iterator[SafeFrame]:
        """Forget all tracks: what comes next is another scene. Gives out what is left."""
        # What would have followed is not known, so what is left was not fully checked.
        self._void()
        yield from self.finish()
        self._cover = self._new_cover()
        self._detected_s = None

    def finish(self) -> Iterator[SafeFrame]:
        """Give out what is left: the source has come to its end, and nothing follows."""
        for held, faces in self._cover.flush():
            yield self._present(held, faces)

    def stand_in(self, notice: str, *, time_s: float) -> SafeFrame:
        """What is shown instead of frames that cannot be shown, at any time."""
        self._clock_s = max(self._clock_s + 1e-3, time_s)
        return self._replacement(notice, self._clock_s)

    def close(self) -> None:
        """Release every frame."""
        self._void()
        if self._last_frame is not None:
            self._last_frame.release()
        self._last = self._last_frame = None

    def _present(self, held: _Held, faces: Detections) -> SafeFrame:
        self._window.remove(held)
        frame, held.frame = held.frame, None
        if frame is None:
            return self._replacement(UNCHECKED, held.time_s)
        try:
            if self._selection is None:
                self._selection = Selection(self._options.policy, *self.size)
            choice = self._selection.choose(faces, moving=self._moving_in(held, faces))
            safe = mask(frame, choice, self._masker)
        except Exception:
            # Whatever it is, half a mask is none.
            logger.exception("camera %s: a frame could not be masked", self._options.name)
            frame.release()
            self.held += 1
            return self._replacement(UNCHECKED, held.time_s)
        if self._options.on_failure == "hold":
            self._keep(safe, frame)
        return safe

    def _find_moving(self, held: _Held, frame: RawFrame) -> None:
        """Before its turn: who comes with it is masked in the frames that wait, too."""
        try:
            if self._moving is None:
                self._moving = MovingMask(*self.size, self._options.policy.moving)
            sight = self._moving.size.look(frame.planes())
            held.found = self._moving.find(sight, time_s=held.time_s)
            cover_coming((each.found for each in self._window if each.found), held.found)
        except Exception:
            logger.exception("camera %s: a frame could not be compared", self._options.name)
            held.void()
            self.held += 1

    def _moving_in(self, held: _Held, faces: Detections) -> Bitmap | None:
        if not self._options.policy.moving.is_on:
            return None
        if held.found is None or self._moving is None:
            raise AssertionError("a frame that was not compared is not shown")
        self._moving.protect(held.found, faces.boxes)
        return held.found.masked

    def _keep(self, safe: SafeFrame, frame: RawFrame) -> None:
        """Keep the latest masked frame, to show it again."""
        frame.hold()
        if self._last_frame is not None:
            self._last_frame.release()
        self._last, self._last_frame = safe, frame

    def _replacement(self, notice: str, time_s: float) -> SafeFrame:
        text = f"{self._options.name}: {notice}"
        if self._last is not None:
            return self._last.repeat(text, time_s=time_s)
        return placeholder(self._format, text, time_s=time_s)

    def _watch_gaps(self) -> None:
        """Say once that detections are too far apart: only a running camera shows its speed."""
        last_s, self._detected_s = self._detected_s, self._clock_s
        if last_s is None or self._far_apart == _FAR_GAPS:
            return
        gap_s = self._clock_s - last_s
        self._far_apart = self._far_apart + 1 if gap_s > MAX_DETECTION_GAP_S + _GAP_JITTER_S else 0
        if self._far_apart == _FAR_GAPS:
            logger.warning("camera %s: %s", self._options.name, too_far_apart(gap_s))

    def _void(self) -> None:
        for held in self._window:
            if held.frame is not None:
                self.held += 1
                held.void()

    def _new_cover(self) -> LiveCover[_Held]:
        options = self._options
        # No thumbnails: a camera has no cuts, and one that is made up would end tracks.
        return LiveCover(
            replace(options.cover, detect_every=options.detect_every),
            threshold=options.policy.detection.threshold,
            lookahead=options.lookahead,
        )
