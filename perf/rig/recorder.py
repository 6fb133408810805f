"""Keep what a camera publishes as it comes, in a process of its own.

`python recorder.py URL FILE`: listens at an RTSP or RTMP address for whoever publishes there, and
writes all streams to FILE until the publisher leaves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av

_LISTEN = {
    "rtsp": {"rtsp_flags": "listen", "rtsp_transport": "tcp", "listen_timeout": "60"},
    "rtmp": {"listen": "1"},
}


class Recorder:
    """A recorder at work."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def wait(self, timeout_s: float) -> int:
        """Wait until the publisher has left and the file is whole; the recorder's exit code."""
        return self._process.wait(timeout_s)


@contextmanager
def recorder(url: str, file: Path) -> Iterator[Recorder]:
    """Run a recorder."""
    # The process itself knows no packages of the rig.
    from rig.ports import until_listening

    process = subprocess.Popen(
        [sys.executable, __file__, url, str(file)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        until_listening(url)
        yield Recorder(process)
    finally:
        process.kill()
        process.wait()


def _main() -> None:
    url, file = sys.argv[1:]
    options = {"analyzeduration": "1000000", **_LISTEN[url.partition(":")[0]]}
    with _published(url, options) as source, av.open(file, "w") as out:
        copies = {stream: out.add_stream_from_template(stream) for stream in source.streams}
        packets = source.demux()
        while (packet := _next(packets)) is not None:
            if packet.dts is not None:
                packet.stream = copies[packet.stream]
                out.mux(packet)


def _published(url: str, options: dict[str, str]) -> Any:
    """What somebody publishes; who gives up on the way may come again."""
    while True:
        try:
            return av.open(url, options=options)
        except av.error.FFmpegError:
            time.sleep(0.1)


def _next(packets: Iterator[av.Packet]) -> av.Packet | None:
    try:
        return next(packets, None)
    except av.error.FFmpegError:
        # How it looks when a publisher leaves differs between protocols.
        return None


if __name__ == "__main__":
    _main()
