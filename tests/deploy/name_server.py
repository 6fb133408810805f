"""A name with the addresses that a test says, as a headless Service has."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_ADDRESS, _INTERNET = 1, 1


@dataclass
class NameServer:
    """Answers any question for an address with all of `addresses`.

    Attributes:
        port: Where it listens, by UDP.
        questions: How many it was asked.
    """

    port: int
    addresses: list[str] = field(default_factory=list)
    questions: int = 0

    def answer(self, question: bytes) -> bytes:
        """What to send back: the question, and an address in each answer."""
        end = question.index(b"\0", 12) + 5
        asked_for, _ = struct.unpack("!HH", question[end - 4 : end])
        found = self.addresses if asked_for == _ADDRESS else []
        self.questions += asked_for == _ADDRESS
        head = question[:2] + struct.pack("!HHHHH", 0x8580, 1, len(found), 0, 0)
        answers = [
            # The name is the one at byte 12; it may be kept for no time.
            struct.pack("!HHHIH", 0xC00C, _ADDRESS, _INTERNET, 0, 4) + socket.inet_aton(address)
            for address in found
        ]
        return head + question[12:end] + b"".join(answers)


@contextmanager
def name_server(*addresses: str) -> Iterator[NameServer]:
    """A running one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        server = NameServer(sock.getsockname()[1], list(addresses))
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                question, asker = sock.recvfrom(512)
                if len(question) > 12:
                    sock.sendto(server.answer(question), asker)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            ended.set()
            sock.sendto(b"", sock.getsockname())
            thread.join(5)
