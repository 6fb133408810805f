"""Messages between a process and its child: one JSON object a line, over a socket."""

from __future__ import annotations

import json
import select
import socket
from typing import Any, Final

Message = dict[str, Any]
MAX_LINE: Final = 1 << 20


class LinkClosedError(Exception):
    """The other side has gone, or does not read what it is sent."""


class MessageSocket:
    """One end. JSON and not pickle: what comes from a child that reads a network is not trusted."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        end.setblocking(False)
        self._unread = b""

    def fileno(self) -> int:
        """For waiting on several at once."""
        return self._socket.fileno()

    def send(self, **message: Any) -> None:
        """Send a message; it is small, and few are ever under way, so this does not wait.

        Raises:
            LinkClosedError: The other side does not take it.
        """
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        try:
            while data:
                data = data[self._socket.send(data) :]
        except OSError as error:
            raise LinkClosedError(str(error)) from error

    def receive(self) -> list[Message]:
        """All messages that have come, without waiting.

        Raises:
            LinkClosedError: There are none and no more will come, or they are invalid.
        """
        closed = False
        while len(self._unread) < MAX_LINE:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                closed = True
                break
            self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        if not lines and (closed or len(self._unread) >= MAX_LINE):
            raise LinkClosedError("the other side has closed the connection")
        try:
            messages = [json.loads(line) for line in lines]
        except ValueError as error:
            raise LinkClosedError("the other side sent something else than messages") from error
        return [message for message in messages if isinstance(message, dict)]

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for a message, or for the other side to go; whether there is one."""
        return bool(select.select([self._socket], [], [], timeout_s)[0])

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
