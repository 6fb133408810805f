"""The frames of an SRT stream, by way of the `ffmpeg` program: our own FFmpeg lacks SRT."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Generator
from contextlib import suppress
from typing import Any, Final

import av

from faceblur.errors import InputError
from faceblur.live.sources.options import SourceOptions
from faceblur.live.sources.readers import StreamReader
from faceblur.live.srt_address import as_playlist, split_srt
from faceblur.redaction import redact_address

_READING: Final = {"connect_timeout": 5_000, "timeout": 8_000_000, "analyzeduration": 500_000}
"""In milliseconds the first, in microseconds the others."""


class _Received(StreamReader):
    """What the program passes on."""

    def __init__(self, url: str, pipe: Any) -> None:
        super().__init__(SourceOptions(kind="rtmp", url=url), "off")
        self._pipe = pipe

    def open(self) -> Any:
        return av.open(self._pipe, format="mpegts", options={"analyzeduration": "500000"})


def received(
    url: str, stopping: threading.Event
) -> Generator[tuple[av.VideoFrame, float], None, None]:
    """Frames as they come, none of them old; the program ends itself where none come.

    Raises:
        InputError: There is no such program, or nothing comes, or no more.
    """
    address = split_srt(url)
    program = shutil.which("ffmpeg")
    if program is None:
        raise InputError("watching SRT needs the ffmpeg program: install it")
    with subprocess.Popen(
        [
            *(program, "-loglevel", "quiet", "-nostdin", "-analyzeduration", "500000"),
            *("-f", "concat", "-safe", "0", "-protocol_whitelist", "pipe,srt", "-i", "pipe:0"),
            *("-map", "0:v:0", "-c", "copy", "-flush_packets", "1", "-f", "mpegts", "pipe:1"),
        ],
        # Unbuffered, or the newest frame would wait for those that fill the buffer.
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        try:
            # If it has ended already, nothing can be read either.
            with suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(as_playlist(address, **_READING))
            for frame in _Received(url, process.stdout).frames():
                yield frame.image, 0.0
                if stopping.is_set():
                    return
        finally:
            process.kill()
    raise InputError(f"{redact_address(url)}: it has ended")
