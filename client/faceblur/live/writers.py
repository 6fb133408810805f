"""Write pictures to a sink, in the sink's process."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from faceblur.errors import InputError, OutputError
from faceblur.live.frame_format import Bytes, FrameFormat
from faceblur.live.sink_options import SinkOptions
from faceblur.video_frames import SCALER_THREADS

logger = logging.getLogger(__name__)

FALLBACK_ENCODER: Final = "libx264"
CLOCK: Final = Fraction(1, 90_000)
HLS_LIST: Final = 6
"""Segments in an HLS playlist."""

_X264: Final = {
    "preset": "superfast",
    "tune": "zerolatency",
    "crf": "23",
    "forced-idr": "1",
    # One thread each: there are as many sinks as can be.
    "threads": "1",
}
_MUXERS: Final = {"rtsp": "rtsp", "rtmp": "flv", "whip": "whip", "hls": "hls"}
_I_FRAME: Final = 1


@dataclass(frozen=True, eq=False)
class Output:
    """One picture to write.

    Attributes:
        format: Of the samples.
        samples: uint8, as `FrameFormat` says; only valid during the call.
        time_s: When it is shown; rises.
        arrived_s: When it came from the camera; None if it stands for pictures that are not shown.
    """

    format: FrameFormat
    samples: Bytes
    time_s: float
    arrived_s: float | None

    @property
    def is_placeholder(self) -> bool:
        """Whether it stands for pictures that are not shown."""
        return self.arrived_s is None


class ViewerLeftError(Exception):
    """The user has closed the window, and wants to end."""


class Writer(Protocol):
    """A sink of pictures."""

    def write(self, output: Output) -> None:
        """Write one picture; opens the sink with the first one.

        Raises:
            OutputError: It cannot be written.
        """

    def close(self) -> None:
        """Write what is left, and close."""


class NullWriter:
    """Takes everything and keeps nothing; for measuring."""

    def write(self, output: Output) -> None:
        """See `Writer`."""

    def close(self) -> None:
        """See `Writer`."""


class Encoder:
    """One video stream in an open container.

    Args:
        container: To add the stream to.
        format_: Of the pictures to come.
        options: Which encoder, and how.
        raw: Write samples as they are, for devices.
    """

    def __init__(
        self, container: Any, format_: FrameFormat, options: SinkOptions, *, raw: bool = False
    ) -> None:
        self._container = container
        self._keyframe_s = options.keyframe_s
        self._start_s: float | None = None
        self._pts = -1
        self._key_s = float("-inf")
        self._stream = (
            container.add_stream("rawvideo", rate=30)
            if raw
            else _encoder_stream(container, options)
        )
        context = self._stream.codec_context
        context.width, context.height = format_.width, format_.height
        context.pix_fmt = "yuv420p"
        context.time_base = CLOCK
        context.sample_aspect_ratio = format_.aspect
        context.colorspace = format_.matrix
        context.color_range = 2 if format_.full_range else 1

    def write(self, image: av.VideoFrame, time_s: float) -> None:
        """Encode a picture and write what comes out."""
        if self._start_s is None:
            self._start_s = time_s
        self._pts = max(self._pts + 1, round((time_s - self._start_s) / CLOCK))
        image.pts, image.time_base = self._pts, CLOCK
        image.pict_type = 0
        if time_s - self._key_s >= self._keyframe_s:
            self._key_s = time_s
            image.pict_type = _I_FRAME
        for packet in self._stream.encode(image):
            self._container.mux(packet)

    def flush(self) -> None:
        """Write what the encoder still holds."""
        if self._start_s is not None:
            for packet in self._stream.encode(None):
                self._container.mux(packet)

    @property
    def duration_s(self) -> float:
        """From the first picture to the latest."""
        return float(max(self._pts, 0) * CLOCK)


class StreamWriter:
    """Publishes to a server, or into an HLS folder.

    The size of the first picture of the camera is kept, for viewers of a stream that is under way
    cannot follow a change: later ones are fitted into it.
    """

    def __init__(self, options: SinkOptions) -> None:
        self._options = options
        self._fitter = Fitter()
        self._container: Any = None
        self._encoder: Encoder | None = None
        self._format: FrameFormat | None = None
        self._is_provisional = True

    def write(self, output: Output) -> None:
        """See `Writer`."""
        if self._must_reopen(output):
            self.close()
        try:
            if self._encoder is None:
                self._open(output.format)
            assert self._encoder is not None
            assert self._format is not None
            self._is_provisional &= output.is_placeholder
            image = self._fitter.fit(output, self._format)
            self._encoder.write(image, output.time_s)
        except (av.error.FFmpegError, OSError) as error:
            raise failed(self._options, error) from error

    def close(self) -> None:
        """See `Writer`."""
        container, encoder = self._container, self._encoder
        self._container = self._encoder = None
        if container is None:
            return
        try:
            if encoder is not None:
                encoder.flush()
            container.close()
        except (av.error.FFmpegError, OSError) as error:
            raise failed(self._options, error) from error

    def _must_reopen(self, output: Output) -> bool:
        """Whether what was opened was only for placeholders of another size."""
        return (
            self._format is not None
            and self._is_provisional
            and not output.is_placeholder
            and output.format != self._format
        )

    def _open(self, format_: FrameFormat) -> None:
        self._format = format_
        self._is_provisional = True
        self._container = self._open_container()
        raw = self._options.kind == "v4l2"
        self._encoder = Encoder(self._container, format_, self._options, raw=raw)
        self._container.start_encoding()

    def _open_container(self) -> Any:
        options = self._options
        timeouts = (options.open_timeout_s, options.write_timeout_s)
        if options.kind == "hls":
            folder = Path(options.target)
            folder.mkdir(parents=True, exist_ok=True)
            return av.open(
                str(folder / "index.m3u8"), "w", format="hls", options=_hls(options, folder)
            )
        if options.kind == "v4l2":
            return av.open(options.target, "w", format="v4l2")
        settings = {"rtsp_transport": "tcp"} if options.kind == "rtsp" else {}
        if options.kind == "rtmp":
            settings = {"flvflags": "no_duration_filesize"}
        muxer = _MUXERS[options.kind]
        return av.open(options.target, "w", format=muxer, options=settings, timeout=timeouts)


class SrtWriter:
    """Publishes over SRT, through the `ffmpeg` program, as our own FFmpeg lacks it."""

    def __init__(self, options: SinkOptions) -> None:
        self._options = options
        self._program: subprocess.Popen[bytes] | None = None
        self._inner: PipeWriter | None = None

    def write(self, output: Output) -> None:
        """See `Writer`."""
        if self._inner is None:
            self._program = _start_ffmpeg(self._options)
            assert self._program.stdin is not None
            self._inner = PipeWriter(self._options, self._program.stdin)
        if self._program is not None and self._program.poll() is not None:
            raise OutputError(
                f"{self._options.label}: ffmpeg ended with code {self._program.returncode}; see "
                "whether the address takes SRT"
            )
        self._inner.write(output)

    def close(self) -> None:
        """See `Writer`."""
        if self._inner is not None:
            self._inner.close()
        if self._program is not None:
            if self._program.stdin is not None:
                self._program.stdin.close()
            self._program.wait(self._options.write_timeout_s)


class PipeWriter:
    """Writes an MPEG transport stream to a file object."""

    def __init__(self, options: SinkOptions, pipe: BinaryIO | Any) -> None:
        self._options = options
        self._pipe = pipe
        self._fitter = Fitter()
        self._container: Any = None
        self._encoder: Encoder | None = None
        self._format: FrameFormat | None = None

    def write(self, output: Output) -> None:
        """See `Writer`."""
        try:
            if self._encoder is None or self._format is None:
                self._format = output.format
                self._container = av.open(self._pipe, "w", format="mpegts")
                self._encoder = Encoder(self._container, output.format, self._options)
            self._encoder.write(self._fitter.fit(output, self._format), output.time_s)
        except (av.error.FFmpegError, OSError) as error:
            raise failed(self._options, error) from error

    def close(self) -> None:
        """See `Writer`."""
        if self._encoder is not None:
            self._encoder.flush()
            self._container.close()


class Fitter:
    """Fits pictures into a given format: as large as they go, with black beside them."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def fit(self, output: Output, target: FrameFormat) -> av.VideoFrame:
        """The picture in the target's format."""
        source = output.format
        if source == target:
            return source.image(output.samples)
        image = source.image(output.samples)
        ratio = float(source.aspect / target.aspect)
        scale = min(target.width / (source.width * ratio), target.height / source.height)
        width = max(2, round(source.width * ratio * scale) & ~1)
        height = max(2, round(source.height * scale) & ~1)
        small = self._reformatter.reformat(
            image,
            width,
            height,
            "yuv420p",
            src_colorspace=source.matrix,
            dst_colorspace=target.matrix,
            src_color_range=2 if source.full_range else 1,
            dst_color_range=2 if target.full_range else 1,
            threads=SCALER_THREADS,
        )
        canvas = av.VideoFrame(target.width, target.height, "yuv420p")
        black = (0 if target.full_range else 16, 128, 128)
        left = ((target.width - width) // 2) & ~1
        top = ((target.height - height) // 2) & ~1
        for plane, fill, part, step in zip(
            _rows(canvas), black, _rows(small), (1, 2, 2), strict=True
        ):
            plane[:] = fill
            y, x = top // step, left // step
            plane[y : y + height // step, x : x + width // step] = part[
                : height // step, : width // step
            ]
        canvas.colorspace = target.matrix
        canvas.color_range = 2 if target.full_range else 1
        return canvas


def failed(options: SinkOptions, error: BaseException) -> OutputError:
    """What to say when FFmpeg does not go on."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OutputError(f"{options.label}: {reason}")


def _rows(image: av.VideoFrame) -> Iterator[Bytes]:
    for plane in image.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
        yield rows[:, : plane.width]


def _encoder_stream(container: Any, options: SinkOptions) -> Any:
    name = options.encoder or FALLBACK_ENCODER
    if name != FALLBACK_ENCODER and not _opens(name):
        logger.warning("the encoder %s does not work here; using %s", name, FALLBACK_ENCODER)
        options = replace(options, encoder=None)
        name = FALLBACK_ENCODER
    settings = dict(_X264) if name == FALLBACK_ENCODER else {}
    if name.endswith("_nvenc"):
        settings = {"preset": "p1", "tune": "ull", "zerolatency": "1", "forced-idr": "1"}
    stream = container.add_stream(name, options=settings)
    context = stream.codec_context
    context.gop_size = 1 << 14
    context.max_b_frames = 0
    if options.bitrate is not None:
        if name == FALLBACK_ENCODER:
            settings["maxrate"] = str(options.bitrate)
            settings["bufsize"] = str(options.bitrate)
            context.options = settings
        else:
            context.bit_rate = options.bitrate
    return stream


def _opens(name: str) -> bool:
    """Whether an encoder is there and its device too: only trying tells."""
    try:
        context: Any = av.CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt = 640, 368, "yuv420p"
        context.time_base = Fraction(1, 30)
        context.encode(av.VideoFrame(640, 368, "yuv420p"))
    except (ValueError, OSError, RuntimeError, av.error.FFmpegError) as error:
        logger.debug("%s: %s", name, error)
        return False
    return True


def _hls(options: SinkOptions, folder: Path) -> dict[str, str]:
    return {
        "hls_time": f"{options.segment_s:g}",
        "hls_list_size": str(HLS_LIST),
        # Players that are behind still find the segments that just left the list.
        "hls_delete_threshold": "3",
        "hls_flags": "delete_segments+independent_segments+temp_file+program_date_time"
        "+append_list+discont_start+omit_endlist",
        "hls_start_number_source": "epoch",
        "hls_segment_filename": str(folder / "segment-%d.ts"),
    }


def _start_ffmpeg(options: SinkOptions) -> subprocess.Popen[bytes]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise InputError(f"{options.label} needs the ffmpeg program: install it, or push RTSP")
    return subprocess.Popen(
        [
            *(program, "-loglevel", "quiet", "-nostdin", "-analyzeduration", "500000"),
            *("-f", "mpegts", "-i", "pipe:0", "-flush_packets", "1"),
            *("-c", "copy", "-f", "mpegts", options.target),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wall_clock() -> str:
    """The time now in UTC, as it goes into file names; they sort by it."""
    now = time.time()
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
