"""Encode frames into a container, and put the audio beside them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import av

from faceblur.live.audio import AudioFormat, AudioPacket
from faceblur.live.frame_format import FrameFormat
from faceblur.live.sinks.audio_track import open_track
from faceblur.live.sinks.options import SinkOptions
from faceblur.video.encoders import objection
from faceblur.video.hardware.choice import AUTO, choose_encoder_like
from faceblur.video.opening import open_encoder

logger = logging.getLogger(__name__)

FALLBACK_ENCODER: Final = "libx264"
CLOCK: Final = Fraction(1, 90_000)

# A muxer that has several streams puts them in order: it does not wait for the slower one.
INTERLEAVE: Final = {"max_interleave_delta": "1000"}

_X264: Final = {
    "preset": "superfast",
    "tune": "zerolatency",
    "crf": "23",
    "forced-idr": "1",
    # One thread each: there are as many sinks as can be.
    "threads": "1",
}
_I_FRAME: Final = 1
_GOP: Final = 60
"""Frames from one key frame to the next where an encoder goes by its own count."""


class Encoder:
    """One video stream in an open container, and one of the camera's audio where there is any."""

    def __init__(
        self,
        container: Any,
        format_: FrameFormat,
        options: SinkOptions,
        *,
        audio: AudioFormat | None = None,
    ) -> None:
        self._container = container
        self._keyframe_s = options.keyframe_s
        self._start_s: float | None = None
        self._pts = -1
        self._key_s = float("-inf")
        # A device takes samples as they are.
        raw = options.kind == "v4l2"
        if raw:
            self._stream = container.add_stream("rawvideo", rate=30)
        else:
            self._stream = _encoder_stream(container, options)
        context = self._stream.codec_context
        context.width, context.height = format_.width, format_.height
        context.pix_fmt = "yuv420p" if raw else _pixel_format(context)
        context.time_base = CLOCK
        context.sample_aspect_ratio = format_.aspect
        context.colorspace = format_.matrix
        context.color_range = 2 if format_.full_range else 1
        open_encoder(context)
        self._track = None if audio is None else open_track(container, audio, options)

    def write(self, image: av.VideoFrame, time_s: float) -> None:
        """Encode a frame and write what comes out."""
        if self._start_s is None:
            self._start_s = time_s
        self._pts = max(self._pts + 1, round((time_s - self._start_s) / CLOCK))
        wanted = self._stream.codec_context.pix_fmt
        if image.format.name != wanted:
            image = image.reformat(format=wanted)
        image.pts, image.time_base = self._pts, CLOCK
        image.pict_type = 0
        if time_s - self._key_s >= self._keyframe_s:
            self._key_s = time_s
            image.pict_type = _I_FRAME
        for packet in self._stream.encode(image):
            self._container.mux(packet)

    def write_audio(self, packets: Iterable[AudioPacket]) -> None:
        """Write audio that belongs to the frames so far; what came before the first is left out.

        It never waits for frames, nor they for it, except that a muxer puts both in order.
        """
        if self._track is not None and self._start_s is not None:
            for packet in packets:
                self._track.write(packet, self._start_s)

    def flush(self) -> None:
        """Write what the encoders still hold."""
        if self._start_s is not None:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        if self._track is not None:
            self._track.close()

    @property
    def duration_s(self) -> float:
        """From the first frame to the latest."""
        return float(max(self._pts, 0) * CLOCK)


def _encoder_stream(container: Any, options: SinkOptions) -> Any:
    name = _usable(options.encoder or FALLBACK_ENCODER)
    settings = dict(_X264) if name == FALLBACK_ENCODER else {}
    if options.kind == "whip" and name == FALLBACK_ENCODER:
        # What every browser takes.
        settings["profile"] = "baseline"
    if name.endswith("_nvenc"):
        settings = {"preset": "p1", "tune": "ull", "zerolatency": "1", "forced-idr": "1"}
    if name.endswith("_qsv"):
        settings = {"preset": "veryfast", "async_depth": "1", "forced_idr": "1"}
    stream = container.add_stream(name, options=settings)
    context = stream.codec_context
    # Key frames come when they are asked for; not every encoder heeds that.
    heeds = name == FALLBACK_ENCODER or name.endswith(("_nvenc", "_qsv"))
    context.gop_size = 1 << 14 if heeds else _GOP
    context.max_b_frames = 0
    if options.bitrate is not None:
        if name == FALLBACK_ENCODER:
            rate = str(options.bitrate)
            context.options = settings | {"maxrate": rate, "bufsize": rate}
        else:
            context.bit_rate = options.bitrate
    return stream


@lru_cache
def _usable(name: str) -> str:
    """An encoder, or what takes its place here; tried once, and not for each file of a recording.

    Only trying tells whether its device is there too.
    """
    if name == AUTO:
        # Who starts the sinks has measured.
        chosen = choose_encoder_like(FALLBACK_ENCODER, may_measure=False)
        name = chosen.name or FALLBACK_ENCODER
    if name == FALLBACK_ENCODER:
        return name
    try:
        pixel_format = _pixel_format(av.CodecContext.create(name, "w"))
        why = objection(name, (640, 368), pixel_format)
    except (ValueError, av.error.FFmpegError) as error:
        why = str(error)
    if why:
        logger.debug("%s: %s", name, why)
        logger.warning("the encoder %s does not work here; using %s", name, FALLBACK_ENCODER)
        return FALLBACK_ENCODER
    return name


def _pixel_format(context: Any) -> str:
    """What an encoder is given: yuv420p, or the same in the order of planes that it has."""
    takes = [each.name for each in context.codec.video_formats or ()]
    return "nv12" if "nv12" in takes and "yuv420p" not in takes else "yuv420p"
