"""Packets of a file, which can be peeked at before they are taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import av

Packet = Any
"""av.Packet, which takes no type argument at run time."""


class PacketQueue:
    """The packets of a file, in order; an iterator.

    What goes wrong while looking ahead is raised where reading would have come to it.
    """

    def __init__(self, packets: Iterator[Packet]) -> None:
        self._packets = packets
        self._ahead: deque[Packet] = deque()
        self._failure: Exception | None = None

    def peek(self, count: int) -> Sequence[Packet]:
        """The next packets, fewer at the end of the file; they stay in the queue."""
        while len(self._ahead) < count and self._failure is None:
            try:
                self._ahead.append(next(self._packets))
            except (StopIteration, av.error.FFmpegError, EOFError) as error:
                self._failure = error
        return self._ahead

    def __iter__(self) -> PacketQueue:
        return self

    def __next__(self) -> Packet:
        """Take the next packet.

        Raises:
            StopIteration: There is none.
            av.error.FFmpegError: The file cannot be read on.
            EOFError: It ends too early.
        """
        if not self.peek(1):
            assert self._failure is not None
            raise self._failure
        return self._ahead.popleft()


def duplicate(packet: Packet) -> Packet:
    """A packet of the same content and times, which belongs to no track."""
    copy = av.Packet(bytes(packet))
    copy.time_base = packet.time_base
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    return copy
