"""Receive WebRTC as a media server does to which WHIP pushes, in a process of its own.

`python whip_server.py PORT FILE TOKEN`: takes offers of whoever has the token, and appends every
frame to FILE as viewer.py does; what it hears it counts in FILE.sound. Who sends an offer to …/whep
gets what was published last.
"""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np


class _Receiver:
    """Answers offers, and writes down what comes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connections: list[Any] = []
        self._relay: Any = None
        self._published: Any = None
        self._writing: list[asyncio.Future[None]] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def answer(self, offer: str, *, watches: bool) -> str | None:
        """The SDP answer to an offer; None if there is nothing to be watched."""
        work = self._answer(offer, watches=watches)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _answer(self, offer: str, *, watches: bool) -> str | None:
        from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
        from aiortc.contrib.media import MediaRelay

        if watches and self._published is None:
            return None
        self._relay = self._relay or MediaRelay()
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connections.append(connection)
        if watches:
            connection.addTrack(self._relay.subscribe(self._published))
        else:
            connection.on("track", self._take)
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        answer: str = connection.localDescription.sdp
        return answer

    def _take(self, track: Any) -> None:
        if track.kind == "video":
            self._published = track
            track = self._relay.subscribe(track)
        self._writing.append(asyncio.ensure_future(self._write(track)))

    async def _write(self, track: Any) -> None:
        from aiortc.mediastreams import MediaStreamError

        is_video = track.kind == "video"
        with Path(f"{self._file}{'' if is_video else '.sound'}").open("ab") as file:
            while True:
                try:
                    frame = await track.recv()
                except MediaStreamError:
                    return
                if is_video:
                    image = frame.to_ndarray(format="bgr24")
                    file.write(struct.pack("d", time.monotonic()) + image.tobytes())
                else:
                    loud = float(np.abs(frame.to_ndarray().astype(float)).max()) / 32768
                    file.write(struct.pack("d", loud))
                file.flush()


def _handler(receiver: _Receiver, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            offer = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if self.headers.get("Authorization") != f"Bearer {token}":
                self.send_error(401)
                return
            found = receiver.answer(offer, watches=self.path.endswith("/whep"))
            if found is None:
                self.send_error(404)
                return
            answer = found.encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/sdp")
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("Location", "/session")
            self.end_headers()
            self.wfile.write(answer)

        def do_DELETE(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    return Handler


@contextmanager
def whip_server(port: int, file: Path, *, token: str) -> Iterator[None]:
    """Run a server."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(port), str(file), token],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != b"ready":
            raise RuntimeError("the WHIP server did not start")
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _main() -> None:
    port, file, token = sys.argv[1:]
    handler = _handler(_Receiver(Path(file)), token)
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), handler)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _main()
