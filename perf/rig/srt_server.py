"""Pass on what is published over SRT, as a media server does, in a process of its own.

`python srt_server.py PORT`: whoever connects says what they want by the name of their stream,
`publish:NAME` or `read:NAME`; anybody else is sent away, and so is whoever does not know the
passphrase, if a line with one comes on stdin. It is libsrt itself that listens.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from typing import Any

MISSING = "needs libsrt, which comes with ffmpeg: apt-get install -y ffmpeg"
_STREAM_ID = 46
_PASSPHRASE = 26
"""SRTO_STREAMID and SRTO_PASSPHRASE of srt.h."""
_PACKET_BYTES = 1456


def library() -> str | None:
    """The library; None where there is none."""
    return find_library("srt-gnutls") or find_library("srt-openssl") or find_library("srt")


@contextmanager
def srt_server(port: int, passphrase: str = "") -> Iterator[None]:
    """Run a server."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, __file__, str(port)], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin:
            process.stdin.write(f"{passphrase}\n".encode())
        if process.stdout.readline().strip() != b"ready":
            raise RuntimeError("the SRT server did not start")
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Server:
    def __init__(self, port: int, passphrase: bytes) -> None:
        name = library()
        if name is None:
            raise SystemExit(MISSING)
        self._srt = ctypes.CDLL(name)
        self._srt.srt_startup()
        self._readers: dict[str, list[int]] = {}
        self._lock = threading.Lock()
        self._listener = self._srt.srt_create_socket()
        if passphrase:
            self._srt.srt_setsockflag(self._listener, _PASSPHRASE, passphrase, len(passphrase))
        address = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port)
        address += socket.inet_aton("127.0.0.1") + bytes(8)
        if self._srt.srt_bind(self._listener, address, len(address)) != 0:
            raise SystemExit("the port is taken")
        self._srt.srt_listen(self._listener, 8)

    def run(self) -> None:
        while (peer := self._srt.srt_accept(self._listener, None, None)) >= 0:
            wish, _, name = self._stream(peer).partition(":")
            if wish == "read" and name:
                with self._lock:
                    self._readers.setdefault(name, []).append(peer)
            elif wish == "publish" and name:
                threading.Thread(target=self._pass_on, args=(peer, name), daemon=True).start()
            else:
                self._srt.srt_close(peer)

    def _stream(self, peer: int) -> str:
        text, length = ctypes.create_string_buffer(512), ctypes.c_int(512)
        self._srt.srt_getsockflag(peer, _STREAM_ID, text, ctypes.byref(length))
        return text.raw[: length.value].decode()

    def _pass_on(self, peer: int, name: str) -> None:
        packet: Any = ctypes.create_string_buffer(_PACKET_BYTES)
        while (size := self._srt.srt_recvmsg(peer, packet, _PACKET_BYTES)) > 0:
            with self._lock:
                readers = self._readers.get(name, [])
                gone = [r for r in readers if self._srt.srt_sendmsg(r, packet, size, -1, 1) < 0]
                for reader in gone:
                    readers.remove(reader)
                    self._srt.srt_close(reader)


def _main() -> None:
    server = _Server(int(sys.argv[1]), sys.stdin.readline().strip("\n").encode())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    _main()
