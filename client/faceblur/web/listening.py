"""Connections: how many there are at most, and how long one may take to ask.

uvicorn limits what is asked, and not those who connect and never finish asking.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from faceblur.errors import OutputError
from faceblur.web.names import LOOPBACK, shown

if TYPE_CHECKING:
    # Needs a library that is not needed on this machine alone.
    from faceblur.web.certificate import Certificate

MOST_CONNECTIONS: Final = 100
"""Each is a file descriptor, of which there may be no more than 256."""

_MOST_LEAVING: Final = 20
"""So many more may be there still that were told to go."""

MOST_OF_ONE: Final = 20
"""Of one address of the network; a browser has six. This machine may have all: whoever comes by a
tunnel or a proxy on it has its address."""

HANDSHAKE_S: Final = 5.0
"""So long may TLS take to begin. asyncio would wait for a minute."""

ASK_S: Final = 10.0
"""So long may a request take from its first byte, and the first from the connection, until its
headers are there."""

_GRACE_S: Final = 2
_IN_IPV6: Final = "::ffff:"
"""Before an address of IPv4, where a socket of IPv6 takes both."""

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of TLS 1.3 are all good."""

_BROKEN_OFF: Final = "an answer was broken off: a file in it was deleted while it was sent"


@dataclass(eq=False)
class _Connection:
    """What is known of one.

    Attributes:
        address: Where it comes from, with the port.
        is_known: It has shown a session, or the token of programs.
        is_leaving: It was told to go.
    """

    address: tuple[str, int]
    is_known: bool = False
    is_leaving: bool = False

    @property
    def peer(self) -> str:
        return self.address[0].removeprefix(_IN_IPV6)


class Listener(socket.socket):
    """Takes connections, and closes those that are too many; TLS comes after that."""

    def __init__(self, family: socket.AddressFamily) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        # Who is gone is not held.
        self._taken: weakref.WeakKeyDictionary[socket.socket, _Connection] = (
            weakref.WeakKeyDictionary()
        )
        self._waits = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Take a connection, and let one go in its place if there are too many.

        Raises:
            BlockingIOError: Whoever was let go has to close it first.
            ConnectionAbortedError: There are too many of its address, or nobody can be let go.
        """
        if self._waits:
            # As many as wait are taken in one turn of the loop; this ends it.
            self._waits = False
            raise BlockingIOError
        taken, address = super().accept()
        new = _Connection(address[:2])
        there = {each: its for each, its in self._taken.items() if each.fileno() >= 0}
        is_crowd = new.peer not in LOOPBACK and _peers(there)[new.peer] >= MOST_OF_ONE
        if is_crowd or not _has_room(there):
            taken.close()
            raise ConnectionAbortedError("there are too many connections")
        self._waits = any(its.is_leaving for its in there.values())
        self._taken[taken] = new
        return taken, address

    def keep(self, address: tuple[str, int]) -> None:
        """Note that whoever comes from there has shown a session, or the token of programs."""
        for its in self._taken.values():
            if its.address == address:
                its.is_known = True


def _peers(those: Mapping[socket.socket, _Connection]) -> Counter[str]:
    return Counter(its.peer for its in those.values())


def _has_room(there: Mapping[socket.socket, _Connection]) -> bool:
    """Whether there is room for one more; made by the first of the address that has most."""
    staying = {each: its for each, its in there.items() if not its.is_leaving}
    if len(staying) < MOST_CONNECTIONS:
        return True
    strangers = {each: its for each, its in staying.items() if not its.is_known}
    if not strangers or len(there) >= MOST_CONNECTIONS + _MOST_LEAVING:
        return False
    peers = _peers(strangers)
    leaving = max(strangers, key=lambda each: peers[strangers[each].peer])
    strangers[leaving].is_leaving = True
    # Whoever serves it notices, and closes it. It may have gone by itself.
    with suppress(OSError):
        leaving.shutdown(socket.SHUT_RDWR)
    return True


class Loop(asyncio.SelectorEventLoop):
    """Gives TLS less time to begin than asyncio does."""

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *,
        sock: socket.socket,
        ssl: SSLContext | None,
        backlog: int,
    ) -> asyncio.Server:
        """Listen, as uvicorn wants it."""
        return await super().create_server(
            protocol_factory,
            sock=sock,
            ssl=ssl,
            backlog=backlog,
            ssl_handshake_timeout=None if ssl is None else HANDSHAKE_S,
        )


def listen(host: str, port: int) -> Listener:
    """Listen at an address.

    Raises:
        OutputError: That is not possible.
    """
    listener = Listener(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OutputError(
            f"cannot listen at {shown(host)}:{port}: {error.strerror}; give another --port, or "
            "leave it out"
        ) from error
    return listener


class ImpatientProtocol(H11Protocol):
    """HTTP, for those who ask in time."""

    _asking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for what is asked."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take some of what is asked; until its headers are whole, the time runs."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._asking is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._asking = self.loop.call_later(ASK_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None


def configured(app: ASGIApp, certificate: Certificate | None = None) -> uvicorn.Config:
    """How uvicorn serves the addresses."""
    logging.getLogger("uvicorn.error").addFilter(_brief)
    return uvicorn.Config(
        app,
        # One of uvloop would not ask the listener.
        loop=f"{__name__}:{Loop.__name__}",
        http=ImpatientProtocol,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=None if certificate is None else certificate.path,
        ssl_keyfile=None if certificate is None else certificate.key,
        ssl_ciphers=_CIPHERS,
    )


def _brief(record: logging.LogRecord) -> bool:
    """Let an answer that ends since what it sends was deleted meanwhile have one line."""
    error = record.exc_info[1] if record.exc_info else None
    # Starlette raises others from it, since the answer has begun.
    while error is not None and not isinstance(error, FileNotFoundError):
        error = error.__context__
    if error is not None:
        record.msg, record.args, record.exc_info = _BROKEN_OFF, (), None
    return True
