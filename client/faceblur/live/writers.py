"""Write pictures to a sink, in the sink's process."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from faceblur.errors import InputError, OutputError
from faceblur.live.encoder import INTERLEAVE, Encoder
from faceblur.live.frame_format import Bytes, FrameFormat
from faceblur.live.sink_options import SinkOptions
from faceblur.live.sound import SoundFormat, SoundPacket, SoundQueue
from faceblur.video_frames import SCALER_THREADS

logger = logging.getLogger(__name__)

HLS_LIST: Final = 6
"""Segments in an HLS playlist."""

_MUXERS: Final = {"rtsp": "rtsp", "rtmp": "flv", "hls": "hls"}


@dataclass(frozen=True, eq=False)
class Output:
    """One picture to write.

    Attributes:
        format: Of the samples.
        samples: uint8, as `FrameFormat` says; only valid during the call.
        time_s: When it is shown; rises.
        arrived_s: When it came from the camera; None if it stands for pictures that are not shown.
        sound: What the camera's sound is like; None without any.
        packets: Sound that has come since the picture before, of about this time.
    """

    format: FrameFormat
    samples: Bytes
    time_s: float
    arrived_s: float | None
    sound: SoundFormat | None = None
    packets: Sequence[SoundPacket] = ()

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
        self._sound: SoundFormat | None = None
        self._waiting = SoundQueue()
        self._is_provisional = True

    def write(self, output: Output) -> None:
        """See `Writer`."""
        self._waiting.add(output.packets)
        if self._must_reopen(output):
            self.close()
        try:
            if self._encoder is None:
                self._open(output)
            assert self._encoder is not None
            assert self._format is not None
            self._is_provisional &= output.is_placeholder
            image = self._fitter.fit(output, self._format)
            self._encoder.write(image, output.time_s)
            self._encoder.write_sound(self._waiting.until(output.time_s))
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
        """Whether what was opened was for other sound, or for placeholders of another size."""
        if self._encoder is None:
            return False
        fits = output.format == self._format or output.is_placeholder
        return output.sound != self._sound or (self._is_provisional and not fits)

    def _open(self, output: Output) -> None:
        self._format, self._sound = output.format, output.sound
        self._is_provisional = True
        try:
            self._start(output.sound)
        except (ConnectionError, TimeoutError):
            raise
        except (av.error.FFmpegError, OSError) as error:
            if output.sound is None:
                raise
            # Pictures are worth more than sound: perhaps it is what the other side does not take.
            self._container = None
            self._start(None)
            logger.warning(
                "%s: goes without sound: %s: %s", self._options.label, output.sound.codec, error
            )

    def _start(self, sound: SoundFormat | None) -> None:
        self._container = self._open_container()
        raw = self._options.kind == "v4l2"
        encoder = Encoder(self._container, self._target(), self._options, raw=raw, sound=sound)
        self._container.start_encoding()
        self._encoder = encoder

    def _target(self) -> FrameFormat:
        assert self._format is not None
        return self._format

    def _open_container(self) -> Any:
        options = self._options
        timeouts = (options.open_timeout_s, options.write_timeout_s)
        if options.kind == "hls":
            folder = Path(options.target)
            folder.mkdir(parents=True, exist_ok=True)
            return av.open(
                str(folder / "index.m3u8"),
                "w",
                format="hls",
                options=_hls(options, folder) | INTERLEAVE,
            )
        if options.kind == "v4l2":
            return av.open(options.target, "w", format="v4l2")
        settings = dict(INTERLEAVE)
        if options.kind == "rtsp":
            settings["rtsp_transport"] = "tcp"
        if options.kind == "rtmp":
            settings["flvflags"] = "no_duration_filesize"
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
        if self._inner is not None and self._inner.sound != output.sound:
            # What the program sends on is settled when it starts.
            self.close()
            self._inner = None
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
        self._waiting = SoundQueue()
        self.sound: SoundFormat | None = None

    def write(self, output: Output) -> None:
        """See `Writer`."""
        self._waiting.add(output.packets)
        try:
            if self._encoder is None or self._format is None:
                self._format, self.sound = output.format, output.sound
                self._container = av.open(self._pipe, "w", format="mpegts", options=INTERLEAVE)
                self._encoder = Encoder(
                    self._container, output.format, self._options, sound=output.sound
                )
            self._encoder.write(self._fitter.fit(output, self._format), output.time_s)
            self._encoder.write_sound(self._waiting.until(output.time_s))
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
