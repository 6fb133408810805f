"""Push over SRT, by way of the `ffmpeg` program."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import av

from faceblur.errors import InputError, OutputError
from faceblur.live.sinks.encoder import INTERLEAVE
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.writer import EncodedWriter
from faceblur.live.srt_address import as_preset, split_srt


class SrtWriter(EncodedWriter):
    """Publishes over SRT, through the `ffmpeg` program, as our own FFmpeg lacks it."""

    _program: subprocess.Popen[bytes] | None = None

    def open_target(self) -> Any:
        """Start the program, and write an MPEG transport stream to it.

        Raises:
            InputError: There is no such program.
        """
        self._program = _start_ffmpeg(self._options)
        return av.open(self._program.stdin, "w", format="mpegts", options=INTERLEAVE)

    def close(self) -> None:
        """End the program once it has sent everything."""
        super().close()
        if self._program is not None and self._program.stdin is not None:
            self._program.stdin.close()
            self._program.wait(self._options.write_timeout_s)
            self._program = None

    def _check_target(self) -> None:
        if self._program is not None and self._program.poll() is not None:
            raise OutputError(
                f"{self._options.label}: ffmpeg ended with code {self._program.returncode}; see "
                "whether the address takes SRT"
            )


def _start_ffmpeg(options: SinkOptions) -> subprocess.Popen[bytes]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise InputError(f"{options.label} needs the ffmpeg program: install it, or push RTSP")
    address = split_srt(options.target)
    # Nobody but this user can read a pipe of it.
    read_fd, write_fd = os.pipe()
    try:
        with os.fdopen(write_fd, "wb") as preset:
            preset.write(as_preset(address))
        return subprocess.Popen(
            [
                *(program, "-loglevel", "quiet", "-nostdin", "-analyzeduration", "500000"),
                *("-f", "mpegts", "-i", "pipe:0", "-flush_packets", "1"),
                *("-c", "copy", "-f", "mpegts"),
                *(("-fpre", f"/dev/fd/{read_fd}") if address.secrets else ()),
                address.open,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[read_fd],
        )
    finally:
        os.close(read_fd)
