"""Pass on what is published over RTMP, as a media server does, in a process of its own.

`python rtmp_server.py URL`: one who publishes there and, after that, one who plays it, each by
FFmpeg's own listener; and so again when either has left.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av


@contextmanager
def rtmp_server(url: str) -> Iterator[None]:
    """Run a server."""
    # The process itself knows no packages of the rig.
    from rig.ports import until_listening

    process = subprocess.Popen(
        [sys.executable, __file__, url],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        until_listening(url)
        yield
    finally:
        process.kill()
        process.wait()


class _Player:
    """Waits for one who plays, who gets what is published from a key frame on."""

    def __init__(self, url: str, template: Any) -> None:
        self._process = subprocess.Popen(
            [
                *("ffmpeg", "-loglevel", "quiet", "-analyzeduration", "300000"),
                *("-fflags", "nobuffer", "-f", "mpegts", "-i", "pipe:0"),
                *("-c", "copy", "-flush_packets", "1", "-f", "flv", "-listen", "1", url),
            ],
            stdin=subprocess.PIPE,
        )
        self._packets: queue.Queue[Any] = queue.Queue(100)
        threading.Thread(target=self._feed, args=(template,), daemon=True).start()

    @property
    def has_left(self) -> bool:
        return self._process.poll() is not None

    def offer(self, packet: Any) -> None:
        """Until somebody plays it nothing is taken, and the publisher must not notice."""
        with contextlib.suppress(queue.Full):
            self._packets.put_nowait(packet)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _feed(self, template: Any) -> None:
        pipe = self._process.stdin
        with (
            contextlib.suppress(av.error.FFmpegError, OSError),
            av.open(pipe, "w", format="mpegts", options={"flush_packets": "1"}) as target,
        ):
            stream = target.add_stream_from_template(template)
            while True:
                packet = self._packets.get()
                packet.stream = stream
                target.mux(packet)


def _serve(url: str) -> None:
    """Pass one publication on to who plays it, and to the next when they have left."""
    with av.open(url, options={"listen": "1", "analyzeduration": "500000"}) as source:
        # The publisher's listener has closed its port, so that the player's can have it.
        stream, player = source.streams.video[0], None
        try:
            for packet in source.demux(stream):
                if packet.is_keyframe and (player is None or player.has_left):
                    player = _Player(url, stream)
                if packet.dts is not None and player is not None:
                    player.offer(packet)
        finally:
            if player is not None:
                player.close()


def _main() -> None:
    while True:
        try:
            _serve(sys.argv[1])
        except (av.error.FFmpegError, IndexError):
            time.sleep(0.1)


if __name__ == "__main__":
    _main()
