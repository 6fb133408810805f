"""Push over SRT, by way of the `ffmpeg` program."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any, BinaryIO

import av

from faceblur.errors import InputError, OutputError
from faceblur.live.audio import SoundFormat, SoundQueue
from faceblur.live.frame_format import FrameFormat
from faceblur.live.sinks.encoder import INTERLEAVE, Encoder
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.scaling import FrameScaler
from faceblur.live.sinks.stream import Output, failed


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
        self._fitter = FrameScaler()
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
            self._encoder.write(
                self._fitter.fit(output.samples, output.format, self._format), output.time_s
            )
            self._encoder.write_sound(self._waiting.until(output.time_s))
        except (av.error.FFmpegError, OSError) as error:
            raise failed(self._options, error) from error

    def close(self) -> None:
        """See `Writer`."""
        if self._encoder is not None:
            self._encoder.flush()
            self._container.close()


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
