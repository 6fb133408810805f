"""Where decoding can begin in a file whose container has no index that could be trusted.

Streams have none, AVI numbers packets, not frames, and others point somewhere near. What they hold
is gone through once, without decoding, and counts only if it agrees with the times of all frames.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import av

from faceblur.video.opening import open_container
from faceblur.video.packets import duplicate
from faceblur.video.source import main_stream

_BY_BYTE: Final = {"mpegts": 0, "flv": 0, "ogg": 0, "mpeg": 8}
"""Containers that are read from a byte on, and how many packets before. Program streams do not give
a time to each frame, and what FFmpeg makes up for those depends on the frames before."""

_BY_TIME: Final = frozenset({"asf", "avi", "mxf"})
"""Containers that find a packet by its time, or one before it."""

_MOST_SKIPPED: Final = 1000
"""Packets between where the container finds itself and the key frame."""

_BACK_S: Final = Fraction(1, 10)
"""Where decoding times go back by more, another recording begins."""

_LENGTHS: Final = b"\1"
"""Before the parameter sets of codecs whose frames have no start codes."""

SAME_S: Final = Fraction(2, 1000)
"""Matroska rounds times to 1 ms."""


@dataclass(frozen=True)
class KeyFrame:
    """A frame from which decoding can begin.

    Attributes:
        place: Among all frames, in order of presentation.
        dts: Of its packet, in ticks.
        position: Of its packet in the file, bytes; None if that is not known.
        size: Of its packet, bytes.
        start: Where reading begins, bytes; None for the start of the file.
        shift_s: What to take off the times of frames that follow to have those that are known: the
            clock of a file may start again, as where recordings were joined.
    """

    place: int
    dts: int
    position: int | None
    size: int
    start: int | None
    shift_s: Fraction = Fraction(0)

    def is_in(self, packet: av.Packet[av.VideoStream]) -> bool:
        """Whether a packet is the one that holds it."""
        found = packet.dts, packet.pos, packet.size
        return found == (self.dts, self.position, self.size) and packet.is_keyframe


@dataclass(frozen=True, eq=False)
class KeyFrames:
    """All of a file's, in order."""

    frames: Sequence[KeyFrame]

    def before(self, place: int) -> KeyFrame | None:
        """The last one that is not behind a frame."""
        at = bisect_right(self.frames, place, key=lambda frame: frame.place)
        return self.frames[at - 1] if at else None


def find_key_frames(
    path: Path, times: Sequence[Fraction], *, on_packet: Callable[[], None] = lambda: None
) -> KeyFrames | None:
    """Go through the packets of a file, if its container is one of those.

    Args:
        path: The video.
        times: Of all its frames, as its clock counts them, seconds, rising.
        on_packet: Called for each packet; what it raises breaks this off.

    Returns:
        None for another container, and where it does not have a packet for each frame, at its time.

    Raises:
        InputError: The video cannot be read.
    """
    with open_container(path) as container:
        stream = main_stream(container, path)
        name = container.format.name
        if name not in _BY_BYTE.keys() | _BY_TIME or not stream.time_base:
            return None
        base = stream.time_base
        lead = _BY_BYTE.get(name, 0)
        shown: list[_Shown] = []
        positions: list[int] = []
        headers = _Headers(stream)
        clock, last = 0, None
        try:
            for packet in container.demux(stream):
                on_packet()
                if not packet.size:
                    continue
                if packet.pts is None or packet.dts is None:
                    return None
                if last is not None and (last - packet.dts) * base > _BACK_S:
                    # No recording goes on from what another one showed.
                    if not packet.is_keyframe:
                        return None
                    clock += 1
                last = packet.dts
                if packet.pos is not None:
                    positions.append(packet.pos)
                start = positions[-1 - lead] if len(positions) > lead else None
                key = KeyFrame(0, packet.dts, packet.pos, packet.size, start)
                is_key = headers.suffice(packet) and packet.is_keyframe
                shown.append(_Shown(clock, packet.pts, key if is_key else None))
        except (av.error.FFmpegError, EOFError):
            return None
    shown.sort(key=lambda each: (each.clock, each.pts))
    # What cannot be decoded at the start is no frame.
    spare = len(shown) - len(times)
    if spare < 0 or (spare and clock):
        # Nobody knows of which recording frames are lacking.
        return None
    keys = _placed(shown[spare:], times, base)
    # At the end, too, some may be lacking: then those before are at other times than they say.
    is_moved = keys is not None and any(abs(key.shift_s) > SAME_S for key in keys.frames)
    return None if spare and is_moved else keys


class _Headers:
    """What a decoder has to know beside frames: parameter sets, quantizers, palettes.

    They may change in the middle of a file, as where recordings were joined, and a decoder that has
    not seen it would show the frames that follow wrong, and say nothing. What a file begins with is
    known to every decoder of it.
    """

    def __init__(self, stream: av.VideoStream) -> None:
        self._first = self._now = bytes(stream.codec_context.extradata or b"")
        self._filter: Any = None
        # Where frames come with lengths instead of start codes, they bring nothing along.
        if self._first[:1] != _LENGTHS:
            # Of most codecs it knows nothing, since their frames bring nothing either.
            with suppress(av.error.FFmpegError):
                self._filter = av.BitStreamFilterContext("extract_extradata", stream)

    def suffice(self, packet: av.Packet[Any]) -> bool:
        """Whether a decoder that begins at a packet knows it; to be asked of each, in order."""
        brought = b""
        if self._filter is not None:
            copy = duplicate(packet)
            with suppress(av.error.FFmpegError):
                for each in self._filter.filter(copy):
                    brought = _told(each, "new_extradata") or brought
        self._now = brought or _told(packet, "new_extradata", "palette") or self._now
        return bool(brought) or self._now == self._first


def _told(packet: av.Packet[Any], *kinds: Literal["new_extradata", "palette"]) -> bytes:
    """What stands beside the frame of a packet; empty if nothing does."""
    there = (packet.get_sidedata(kind) for kind in kinds if packet.has_sidedata(kind))
    return b"".join(map(bytes, there))


class _Shown(NamedTuple):
    """A frame by its packet: by which of the file's clocks, ticks; itself, if it is a key frame."""

    clock: int
    pts: int
    key: KeyFrame | None


def _placed(shown: Sequence[_Shown], times: Sequence[Fraction], base: Fraction) -> KeyFrames | None:
    """The key frames among all, in order; None unless each is at its time."""
    frames = []
    shifts_s: dict[int, Fraction] = {}
    for place, (each, time_s) in enumerate(zip(shown, times, strict=True)):
        shift_s = shifts_s.setdefault(each.clock, each.pts * base - time_s)
        away_s = each.pts * float(base) - float(shift_s) - float(time_s)
        if abs(away_s) > SAME_S or (place and each[:2] == shown[place - 1][:2]):
            return None
        if each.key is not None:
            frames.append(replace(each.key, place=place, shift_s=shift_s))
    return KeyFrames(frames)


def decoded_from(
    container: av.container.InputContainer, stream: av.VideoStream, start: KeyFrame
) -> Iterator[av.VideoFrame] | None:
    """Decode from a key frame on; None if it is not met soon after going there."""
    if container.format.name not in _BY_BYTE:
        container.seek(start.dts, stream=stream)
    elif start.start is not None:
        container.seek(start.start, stream=stream, unsupported_byte_offset=True)
    packets = container.demux(stream)
    first = next((each for each in islice(packets, _MOST_SKIPPED) if start.is_in(each)), None)
    if first is None:
        return None

    def frames() -> Iterator[av.VideoFrame]:
        yield from first.decode()
        for packet in packets:
            yield from packet.decode()

    return frames()
