"""The audio of a camera: packets that go along as they came, and are not looked into."""

from __future__ import annotations

import base64
import io
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import av

from faceblur.live.frame_format import Bytes

MAX_BYTES: Final = 1 << 20
"""Of audio that waits anywhere; what is older is dropped."""

MAX_PACKETS: Final = 500
"""Likewise. One message describes so many without filling a socket."""

MAX_HEADER_BYTES: Final = 64 << 10

_CARRIER: Final = "nut"
"""A container that describes any codec in a few bytes."""


@dataclass(frozen=True)
class AudioFormat:
    """What a stream of audio is, as text and bytes that can be sent to another process.

    Attributes:
        codec: FFmpeg's name of it, such as aac or pcm_alaw.
        header: All that a muxer or a decoder has to know: a file with such a stream in it, whose
            only packet holds nothing. Equal for equal streams.
    """

    codec: str
    header: bytes

    @classmethod
    def of(cls, stream: Any) -> AudioFormat:
        """The format of an open stream.

        Raises:
            ValueError: It cannot be described.
        """
        file = io.BytesIO()
        with av.open(file, "w", format=_CARRIER, options={"fflags": "+bitexact"}) as container:
            copy = container.add_stream_from_template(stream)
            # Without any packet the file could not be opened.
            packet = av.Packet(bytes(16))
            packet.stream = copy
            packet.pts = packet.dts = 0
            packet.is_keyframe = True
            container.mux(packet)
        header = file.getvalue()
        if len(header) > MAX_HEADER_BYTES:
            raise ValueError("this stream's description is too long")
        return cls(stream.codec_context.codec.canonical_name, header)

    def to_message(self) -> dict[str, str]:
        """For a message to another process."""
        return {"codec": self.codec, "header": base64.b64encode(self.header).decode()}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> AudioFormat:
        """What `to_message` has put into a message; other entries are left alone.

        Raises:
            KeyError: It is not there.
            ValueError: It is something else.
        """
        header = base64.b64decode(str(message["header"]), validate=True)
        return cls(str(message["codec"]), header)

    @contextmanager
    def open(self) -> Iterator[Any]:
        """A stream of this format, as a template and for its decoder.

        Raises:
            av.error.FFmpegError: The header is invalid.
        """
        with av.open(io.BytesIO(self.header), format=_CARRIER) as container:
            yield container.streams.audio[0]


@dataclass(frozen=True, eq=False)
class AudioPacket:
    """A piece of audio, encoded.

    Attributes:
        time_s: When it is to be heard, on the clock of the frames (`time.monotonic()`).
        duration_s: How long it lasts; 0 if that is not known.
        data: As it came.
    """

    time_s: float
    duration_s: float
    data: bytes


class AudioQueue:
    """Packets that wait for the frames that they belong to; bounded, the newest win."""

    def __init__(self) -> None:
        self._packets: deque[AudioPacket] = deque()
        self._bytes = 0

    def add(self, packets: Iterable[AudioPacket]) -> None:
        """Append packets, and drop the oldest where they are too many."""
        for packet in packets:
            if len(packet.data) > MAX_BYTES:
                continue
            self._packets.append(packet)
            self._bytes += len(packet.data)
            while self._bytes > MAX_BYTES or len(self._packets) > MAX_PACKETS:
                self._pop()

    def take(self) -> list[AudioPacket]:
        """All of them."""
        packets = list(self._packets)
        self.clear()
        return packets

    def until(self, time_s: float) -> list[AudioPacket]:
        """Those up to a time, and one more.

        A muxer that has later audio knows that none comes before a frame of this time.
        """
        packets = []
        while self._packets:
            packets.append(self._pop())
            if packets[-1].time_s > time_s:
                break
        return packets

    def clear(self) -> None:
        """Drop all."""
        self._packets.clear()
        self._bytes = 0

    def _pop(self) -> AudioPacket:
        packet = self._packets.popleft()
        self._bytes -= len(packet.data)
        return packet


def put(packets: Sequence[AudioPacket], memory: Bytes) -> list[list[float]]:
    """Write packets one after the other into memory; returns what `get` needs to find them."""
    entries, start = [], 0
    for packet in packets:
        size = len(packet.data)
        memory[start : start + size] = memoryview(packet.data)
        entries.append([size, packet.time_s, packet.duration_s])
        start += size
    return entries


def get(entries: Iterable[Sequence[float]], memory: Bytes) -> list[AudioPacket]:
    """Copy packets out of memory.

    Raises:
        ValueError: The entries are invalid.
    """
    packets, start = [], 0
    for size, time_s, duration_s in entries:
        end = start + int(size)
        if not start <= end <= min(len(memory), MAX_BYTES):
            raise ValueError("sound outside of its memory")
        packets.append(AudioPacket(float(time_s), float(duration_s), memory[start:end].tobytes()))
        start = end
    return packets
