"""Turn the packets of a video track into frames: upright, drawable, each with its exact time."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import VideoReformatter

from faceblur.errors import InputError
from faceblur.video.alpha import drawable_with_alpha, has_alpha, hide
from faceblur.video.damage import DamageWatch, FrameLedger
from faceblur.video.frames import SCALER_THREADS, SourceFrame, VideoProperties
from faceblur.video.hardware.decoder import DeviceDecoder
from faceblur.video.opening import reason
from faceblur.video.orientation import Orientation, Turner, side_data

logger = logging.getLogger(__name__)

_ONE_FRAME_PER_PACKET: Final = frozenset(
    ("h264", "hevc", "av1", "vp9", "mjpeg", "prores", "ffv1", "dnxhd")
)
_BOTTOM_FIRST: Final = (3, 5)
"""AV_FIELD_BB, AV_FIELD_BT."""

_MAX_STEP_BACK_S: Final = 1
_RATE_TOLERANCE: Final = 0.001


class FrameDecoder:
    """Decodes one track of one file, once.

    Args:
        path: The file.
        stream: The track.
        context: Another codec context than its own, where that will not do.
        device: What decodes in the context's place.
    """

    def __init__(
        self,
        path: Path,
        stream: av.VideoStream,
        context: Any = None,
        device: DeviceDecoder | None = None,
    ) -> None:
        self._context = stream.codec_context if context is None else context
        self._context.thread_type = "AUTO"
        self._decode = self._context.decode if device is None else device.decode
        self._path = path
        self._stream = stream
        self._stores_times = stream.container.format.name != "avi"
        self._time_base = stream.time_base or Fraction(1, av.time_base)
        self._clock = _Clock(self._time_base)
        self._reformatter = VideoReformatter()
        self._turner = Turner(Orientation())
        self._ledger: FrameLedger | None = FrameLedger()
        self._watch = DamageWatch(path, stream)
        self._size = (0, 0)
        self._resized = False
        self._count = 0
        self._joints: deque[int] = deque()
        self._joined = False
        self.properties: VideoProperties | None = None

    def decode(self, packet: av.Packet[Any] | None) -> Iterator[SourceFrame]:
        """Decode a packet, or with None what is left at the end.

        Raises:
            InputError: A frame cannot be decoded; the message names the time.
        """
        if packet is not None:
            self._watch.packet(packet)
        if packet is not None and packet.size == 0:
            # Stands for a frame that does not change.
            return
        if self._ledger and packet and packet.pts is not None and not packet.is_discard:
            self._ledger.expect(packet.pts)
        try:
            frames = self._decode(packet)
        except (av.error.FFmpegError, EOFError) as error:
            raise self.unreadable(error) from error
        for frame in frames:
            yield self._finish(frame)
        if packet is None:
            if self._ledger:
                self._check(self._ledger.remaining())
            self._watch.finish()

    def join(self, packet: av.Packet[Any], leap_s: Fraction) -> None:
        """Say that the next packet is the first of another recording, joined to the last.

        Its time goes on; the clock of the file went forward by `leap_s`.
        """
        start = packet.dts if packet.pts is None else packet.pts
        if start is None:
            return
        if not self._joined:
            self._joined = True
            logger.warning(
                "%s: its clock goes %s by %.1f s %s, as where recordings are joined; the times of "
                "the result go on from there",
                self._path,
                "back" if leap_s < 0 else "forward",
                abs(float(leap_s)),
                self._where(),
            )
        self._joints.append(start)
        self._watch.join()
        if self._ledger:
            self._ledger.join(start)

    def unreadable(self, error: BaseException) -> InputError:
        """What to say when reading on has failed."""
        return InputError(
            f"{self._path} is damaged {self._where()}: {reason(error)}; what cannot be decoded "
            "cannot be checked, so repair the file, or cut this part out"
        )

    def _finish(self, frame: av.VideoFrame) -> SourceFrame:
        if self.properties is None:
            self.properties = self._begin(frame)
        if self._ledger and frame.pts is not None:
            self._check(self._ledger.deliver(frame.pts))
        step_back_s = self._clock.advance(
            frame.pts if self._stores_times else None,
            None if self._stores_times else frame.dts,
            frame.duration,
        )
        if step_back_s > _MAX_STEP_BACK_S:
            raise InputError(
                f"{self._path}: the clock jumps back by {step_back_s:.1f} s {self._where()}; "
                "split it there, or renew its timestamps"
            )
        pts = self._clock.now
        starts_scene = False
        while self._joints and pts >= self._joints[0]:
            self._joints.popleft()
            starts_scene = True
        self._watch.frame(frame, float(pts * self._time_base))
        image = self._turner(self._drawable(frame))
        if has_alpha(image.format.name):
            hide(image)
        image.pts = pts
        image.time_base = self._time_base
        # What the source's encoder chose for a frame must not steer ours.
        image.pict_type = 0
        duration = frame.duration if self._stores_times else self._clock.step
        self._count += 1
        return SourceFrame(
            self._count - 1, pts, duration or 0, self._time_base, image, starts_scene
        )

    def _begin(self, frame: av.VideoFrame) -> VideoProperties:
        """Learn from the first frame how all will be."""
        orientation = Orientation.of(frame)
        self._turner = Turner(orientation)
        self._size = (frame.width, frame.height)
        codec = self._stream.codec.canonical_name
        if (
            codec not in _ONE_FRAME_PER_PACKET
            # Two fields may come as two packets.
            or frame.interlaced_frame
            or not self._stores_times
        ):
            self._ledger = None
        context = self._context
        width, height = orientation.size(frame.width, frame.height)
        aspect = self._stream.sample_aspect_ratio or context.sample_aspect_ratio
        carried = side_data(frame)
        dynamic = {SideDataType.DYNAMIC_HDR_PLUS, SideDataType.DOVI_METADATA} & carried.keys()
        return VideoProperties(
            width=width,
            height=height,
            pixel_format=self._turner(self._drawable(frame)).format.name,
            time_base=self._time_base,
            rate=self._stream.guessed_rate or self._stream.average_rate or None,
            rate_varies=self._rate_varies(),
            sample_aspect_ratio=orientation.aspect(aspect) if aspect else None,
            codec=codec,
            color_range=frame.color_range or context.color_range,
            color_space=frame.colorspace,
            color_primaries=frame.color_primaries,
            color_transfer=frame.color_trc,
            interlaced=frame.interlaced_frame,
            # PyAV 17 cannot tell; nearly all interlaced video starts with the top field.
            bottom_field_first=getattr(context, "field_order", 0) in _BOTTOM_FIRST,
            mastering_display=carried.get(SideDataType.MASTERING_DISPLAY_METADATA),
            light_level=carried.get(SideDataType.CONTENT_LIGHT_LEVEL),
            captions=SideDataType.A53_CC in carried,
            dynamic_hdr=bool(dynamic),
        )

    def _rate_varies(self) -> bool:
        """Whether the rate that all times fit is another than the frames' number in a second."""
        base, average = self._stream.base_rate, self._stream.average_rate
        return not base or not average or abs(base / average - 1) > _RATE_TOLERANCE

    def _drawable(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Bring a frame to the format to draw on, and to the size of the first frame."""
        name = drawable_with_alpha(frame.format.name)
        size = (frame.width, frame.height)
        if size != self._size and not self._resized:
            self._resized = True
            logger.warning(
                "%s: the frames become %d × %d %s; scaling to the first size",
                self._path,
                *size,
                self._where(),
            )
        if size == self._size and name == frame.format.name:
            return frame
        return self._reformatter.reformat(frame, *self._size, name, threads=SCALER_THREADS)

    def _check(self, lost: int | None) -> None:
        if lost is None:
            return
        seconds = float(lost * self._time_base)
        raise InputError(
            f"{self._path} is damaged: its frame at {seconds:.3f} s cannot be decoded, and so not "
            "be checked; repair the file, or cut this part out"
        )

    def _where(self) -> str:
        if self._count == 0:
            return "at its start"
        return f"after {float(self._clock.now * self._time_base):.3f} s"


class _Clock:
    """Gives every frame a time that is later than the one before."""

    def __init__(self, time_base: Fraction) -> None:
        self.now = 0
        self._time_base = time_base
        self.step = 0
        self._decoded_first: int | None = None

    def advance(self, pts: int | None, dts: int | None, duration: int | None) -> float:
        """Go on to the next frame.

        Args:
            pts: Its own time; None in containers that store none.
            dts: When the packet that set it free was to be decoded, which is all that AVI has.
            duration: Of the frame.

        Returns:
            By how many seconds its own time lies before the last frame's, else 0.
        """
        if pts is None and dts is not None:
            if self._decoded_first is None:
                self._decoded_first = dts
            pts = dts - self._decoded_first
        if self.step == 0:
            self.now = pts or 0
            self.step = duration or 1
            return 0.0
        if pts is None:
            pts = self.now + self.step
        back = max(0, self.now - pts)
        pts = max(pts, self.now + 1)
        self.step = pts - self.now
        self.now = pts
        return float(back * self._time_base)
