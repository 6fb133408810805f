"""The two kinds of frames there are: those that must not leave, and those that may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from faceblur.detection.letterbox import Letterbox
from faceblur.detection.parts import CloseUps
from faceblur.image.pixels import Plane
from faceblur.live.audio import AudioPacket
from faceblur.live.frame_format import Bytes, FrameFormat
from faceblur.live.tracing import FrameTrace
from faceblur.masks.masker import Masker
from faceblur.masks.selection import Choice
from faceblur.video.surface import VideoSurface

_GREY: Final = (56, 56, 56)
_WHITE: Final = (200, 200, 200)
_BAR: Final = 1 / 12
"""Height of the bar in which a notice is put on a frame, as a part of the frame's."""
_IN_BAR: Final = 1 / 2
_IN_FRAME: Final = 1 / 16
"""Height of the letters of a notice, as a part of what they are in."""
_KEY: Final = object()
"""Only this module has it; without it no `SafeFrame` can be made."""


@dataclass(eq=False, repr=False)
class RawFrame:
    """A frame as the camera sent it, in shared memory. It must not leave.

    Attributes:
        arrived_s: When it arrived at the source, `time.monotonic()`.
        time_s: When it is shown, on the same clock: even where arrivals are not.
        model_input: What the detector is given; None if it is not asked about this frame.
        letterbox: How the model input and the frame lie to each other; None without a model input.
        close_ups: Parts of it that the detector is given, too; None where the whole is enough.
        audio: Packets that came since the frame before.
        on_release: Called when nobody holds its memory any more.
        trace: Of what becomes of it; None where that is not traced.
    """

    format: FrameFormat
    samples: InitVar[Bytes]
    _: KW_ONLY
    arrived_s: float
    time_s: float
    model_input: Bytes | None = None
    letterbox: Letterbox | None = None
    close_ups: CloseUps | None = None
    audio: Sequence[AudioPacket] = ()
    on_release: Callable[[], None] | None = None
    trace: FrameTrace | None = None

    def __post_init__(self, samples: Bytes) -> None:
        """Hold it once."""
        self._samples: Bytes | None = samples
        self._holders = 1
        self.is_checked = False
        """The detector has answered for it: nothing that it showed has to be asked again."""

    def take(self) -> Bytes:
        """Its samples, once; the taker masks them."""
        samples = self._samples
        if samples is None:
            raise RuntimeError("this frame was used already")
        self._samples = None
        return samples

    def planes(self) -> tuple[Plane, ...]:
        """Its Y, U and V, to be read before it is taken."""
        if self._samples is None:
            raise RuntimeError("this frame was used already")
        width, height = self.format.width, self.format.height
        light, colour = np.split(self._samples[: self.format.size_bytes], [width * height])
        blue, red = colour.reshape(2, height // 2, width // 2)
        return Plane(light.reshape(height, width)), Plane(blue, 2, 2), Plane(red, 2, 2)

    def hold(self) -> None:
        """Keep its memory until one more `release`."""
        self._holders += 1

    def release(self) -> None:
        """Give its memory back to the source, once everybody who holds it has done so."""
        self._holders -= 1
        if self._holders == 0 and self.on_release is not None:
            self.on_release()


@dataclass(eq=False, repr=False)
class SafeFrame:
    """A frame that may leave: no other kind can be given to a sink.

    Made by `mask` and `placeholder` alone.

    Attributes:
        samples: uint8, as `FrameFormat` says.
        arrived_s: When the frame that it was made of arrived; None for placeholders.
        time_s: When it is shown, `time.monotonic()`.
        faces: Masks that were drawn on it.
        trace: Of the frame that it was made of.
    """

    key: InitVar[object]
    format: FrameFormat
    samples: Bytes
    _: KW_ONLY
    arrived_s: float | None
    time_s: float
    faces: int = 0
    trace: FrameTrace | None = None
    source: InitVar[RawFrame | None] = None

    def __post_init__(self, key: object, source: RawFrame | None) -> None:
        """Refuse all who lack the key."""
        if key is not _KEY:
            raise TypeError("safe frames come from mask() and placeholder() alone")
        self._source = source

    @property
    def is_placeholder(self) -> bool:
        """Whether it stands for frames that were not shown."""
        return self.arrived_s is None

    def repeat(self, notice: str, *, time_s: float) -> SafeFrame:
        """The same frame later, with a notice, instead of frames that cannot be shown."""
        samples = _add_notice(self.format, self.samples, notice)
        return SafeFrame(_KEY, self.format, samples, arrived_s=None, time_s=time_s)

    def release(self) -> None:
        """Give its memory back; doing so again does nothing."""
        source, self._source = self._source, None
        if source is not None:
            source.release()


def mask(frame: RawFrame, choice: Choice, masker: Masker) -> SafeFrame:
    """Cover the faces of a frame that was checked, where it lies; the raw frame is used up.

    Args:
        frame: Checked, or followed between frames that were.
        choice: Its faces and the areas to be covered, in its pixels.
        masker: What covers them.

    Raises:
        InputError: The detections are invalid.
    """
    samples = frame.take()
    if len(choice.faces) or choice.areas:
        masker.apply(VideoSurface(frame.format.image(samples)), choice.faces, choice.areas)
    return SafeFrame(
        _KEY,
        frame.format,
        samples,
        arrived_s=frame.arrived_s,
        time_s=frame.time_s,
        faces=len(choice.faces),
        trace=frame.trace,
        source=frame,
    )


def placeholder(format_: FrameFormat, notice: str, *, time_s: float) -> SafeFrame:
    """A flat image with a notice, in which there is nothing of any source."""
    return SafeFrame(
        _KEY, format_, _draw_notice(format_, notice, _IN_FRAME), arrived_s=None, time_s=time_s
    )


def _add_notice(format_: FrameFormat, samples: Bytes, notice: str) -> Bytes:
    """A copy with a notice in a grey bar at its foot."""
    width, height = format_.width, format_.height
    bar = max(4, round(_BAR * height) & ~3)
    noted = samples[: format_.size_bytes].copy()
    brightness = noted[: width * height].reshape(height, width)
    strip = _draw_notice(FrameFormat(width=width, height=bar), notice, _IN_BAR)
    brightness[-bar:] = strip[: width * bar].reshape(bar, width)
    colours = noted[width * height :].reshape(2, height // 2, width // 2)
    colours[:, -(bar // 2) :] = 128
    return noted


@lru_cache(maxsize=32)
def _draw_notice(format_: FrameFormat, notice: str, share: float) -> Bytes:
    width, height = format_.width, format_.height
    image = np.full((height, width, 3), _GREY, np.uint8)
    text = notice.encode("ascii", "replace").decode()
    scale, font = 1.0, cv2.FONT_HERSHEY_SIMPLEX
    (across, down), _ = cv2.getTextSize(text, font, scale, 1)
    scale = min(share * height / max(down, 1), 0.9 * width / max(across, 1))
    place = (round((width - across * scale) / 2), round((height + down * scale) / 2))
    cv2.putText(image, text, place, font, scale, _WHITE, 1, cv2.LINE_AA)
    planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    drawn: Bytes = np.ascontiguousarray(planes, np.uint8).reshape(-1)
    drawn.flags.writeable = False
    return drawn
