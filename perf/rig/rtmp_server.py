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


def _serve(url: str) -> None:
    """Pass one publication on to who plays it."""
    with av.open(url, options={"listen": "1", "analyzeduration": "500000"}) as source:
        stream = source.streams.video[0]
        # The publisher's listener has closed its port, so that the player's can have it.
        player = subprocess.Popen(
            [
                *("ffmpeg", "-loglevel", "quiet", "-analyzeduration", "300000"),
                *("-fflags", "nobuffer", "-f", "mpegts", "-i", "pipe:0"),
                *("-c", "copy", "-flush_packets", "1", "-f", "flv", "-listen", "1", url),
            ],
            stdin=subprocess.PIPE,
        )
        packets: queue.Queue[Any] = queue.Queue(100)
        threading.Thread(target=_feed, args=(player, stream, packets), daemon=True).start()
        try:
            for packet in source.demux(stream):
                if packet.dts is not None and player.poll() is None:
                    # Until somebody plays it nothing is taken, and the publisher must not notice.
                    with contextlib.suppress(queue.Full):
                        packets.put_nowait(packet)
        finally:
            player.kill()
            player.wait()


def _feed(player: subprocess.Popen[bytes], template: Any, packets: queue.Queue[Any]) -> None:
    with av.open(player.stdin, "w", format="mpegts", options={"flush_packets": "1"}) as target:
        stream = target.add_stream_from_template(template)
        while True:
            packet = packets.get()
            packet.stream = stream
            target.mux(packet)


def _main() -> None:
    while True:
        try:
            _serve(sys.argv[1])
        except (av.error.FFmpegError, IndexError):
            time.sleep(0.1)


if __name__ == "__main__":
    _main()
