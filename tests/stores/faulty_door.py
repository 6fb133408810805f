"""A door before an HTTP server: it passes everything on, or fails in the ways that networks do."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

_ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>%s</Message></Error>"
REFUSALS = {
    "slow down": (b"503 Slow Down", _ERROR % (b"SlowDown", b"Please reduce your request rate.")),
    "deny": (b"403 Forbidden", _ERROR % (b"AccessDenied", b"Access Denied")),
    "unknown": (
        b"501 Not Implemented",
        _ERROR % (b"NotImplemented", b"A header implies functionality that is not implemented"),
    ),
    "changed": (
        b"412 Precondition Failed",
        _ERROR % (b"PreconditionFailed", b"At least one of the pre-conditions did not hold"),
    ),
}

Judge = Callable[[str, str], str]
"""Method and path of a request, and what to do with it: "pass", "cut", "drop", "hold" (no
answer, for ever), or one of `REFUSALS`."""


class FaultyDoor:
    """Listens at a free port, and hands each request to the server behind it; a context manager.

    Attributes:
        judge: Asked about each request. "cut" sends the first half of the answer, "drop" none.
        seen: Method and path of each request.
        condition: The If-Match of the last request that had one.
    """

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.judge: Judge = lambda method, path: "pass"
        self.seen: list[tuple[str, str]] = []
        self.condition = ""
        self._closed = threading.Event()

    def __enter__(self) -> FaultyDoor:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def first(self, count: int, what: str, method: str = "", pattern: str = "") -> None:
        """Do something with the first few requests of a method and a path."""
        self.once([(method, pattern)] * count, what)

    def once(self, struck: list[tuple[str, str]], what: str) -> list[tuple[str, str]]:
        """Do something with one request for each method and pattern of a path.

        Returns:
            Those for which no request has come yet.
        """
        left, turn = [*struck], threading.Lock()

        def judge(own: str, path: str) -> str:
            # Requests come at the same time.
            with turn:
                for method, pattern in left:
                    if method in ("", own) and re.search(pattern, path):
                        left.remove((method, pattern))
                        return what
            return "pass"

        self.judge = judge
        return left

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        """Take the requests of one connection; each is passed on by a connection of its own."""
        with client, suppress(OSError), client.makefile("rb") as reader:
            while head := _head(reader):
                method, path, *_ = head[0].decode().split()
                self.seen.append((method, path))
                self.condition = _value(head, b"if-match") or self.condition
                length = int(_value(head, b"content-length") or 0)
                if any(b"100-continue" in line.lower() for line in head):
                    client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                head = [
                    line for line in head if not line.lower().startswith((b"expect", b"connection"))
                ]
                body = _body(reader, head, length)
                what = self.judge(method, path)
                if what == "hold":
                    self._closed.wait(60)
                if what in ("drop", "hold"):
                    return
                if what in REFUSALS:
                    status, text = REFUSALS[what]
                    text = b"" if method == "HEAD" else text
                    client.sendall(
                        b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\n"
                        b"Content-Length: %d\r\n\r\n%s" % (status, len(text), text)
                    )
                    continue
                answer = self._ask(head, body)
                if what == "cut":
                    client.sendall(
                        answer[: len(answer) - (len(answer) - answer.index(b"\r\n\r\n")) // 2]
                    )
                    return
                client.sendall(answer)
                return

    def _ask(self, head: list[bytes], body: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self._behind)) as server:
            server.sendall(b"\r\n".join([*head, b"Connection: close", b"", b""]) + body)
            parts = []
            while part := server.recv(1 << 16):
                parts.append(part)
        return b"".join(parts)


def _head(reader) -> list[bytes]:  # type: ignore[no-untyped-def]
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line.rstrip(b"\r\n"))
    return lines


def _value(head: list[bytes], wanted: bytes) -> str:
    for line in head:
        name, _, value = line.partition(b":")
        if name.lower() == wanted:
            return value.strip().decode()
    return ""


def _body(reader, head: list[bytes], length: int) -> bytes:  # type: ignore[no-untyped-def]
    if not any(line.lower().replace(b" ", b"") == b"transfer-encoding:chunked" for line in head):
        return bytes(reader.read(length))
    parts = []
    while True:
        size = reader.readline()
        parts.append(size)
        content = reader.read(int(size.split(b";")[0], 16) + 2)
        parts.append(content)
        if content == b"\r\n":
            return b"".join(parts)
