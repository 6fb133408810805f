"""Where decoding can begin in a file whose container has no index that could be trusted.

Transport streams have none, and AVI numbers packets, not frames. What both hold is gone through
once, without decoding, and counts only if it agrees with the times of all frames.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np

from faceblur.video.opening import open_container
from faceblur.video.source import main_stream

_BY_BYTE: Final = "mpegts"
_BY_NUMBER: Final = "avi"

SAME_S: Final = Fraction(2, 1000)
"""Matroska rounds times to 1 ms."""


@dataclass(frozen=True)
class KeyFrame:
    """A frame from which decoding can begin.

    Attributes:
        place: Among all frames, in order of presentation.
        dts: Of its packet, in ticks.
        position: Of its packet in the file, bytes.
    """

    place: int
    dts: int
    position: int


@dataclass(frozen=True, eq=False)
class KeyFrames:
    """All of a file's, in order.

    Attributes:
        shift_s: What to take off the times of decoded frames to have those that are known.
    """

    frames: Sequence[KeyFrame]
    shift_s: Fraction

    def before(self, place: int) -> KeyFrame | None:
        """The last one that is not behind a frame."""
        at = bisect_right(self.frames, place, key=lambda frame: frame.place)
        return self.frames[at - 1] if at else None


def find_key_frames(
    path: Path, times: Sequence[Fraction], *, on_packet: Callable[[], None] = lambda: None
) -> KeyFrames | None:
    """Go through the packets of a transport stream or an AVI.

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
        if container.format.name not in (_BY_BYTE, _BY_NUMBER) or not stream.time_base:
            return None
        base = stream.time_base
        shown: list[int] = []
        keys: list[tuple[int, int, int]] = []
        try:
            for packet in container.demux(stream):
                on_packet()
                if not packet.size:
                    continue
                if packet.pts is None or packet.dts is None or packet.pos is None:
                    return None
                shown.append(packet.pts)
                if packet.is_keyframe:
                    keys.append((packet.pts, packet.dts, packet.pos))
        except (av.error.FFmpegError, EOFError):
            return None
    # What cannot be decoded at the start is no frame.
    spare = len(shown) - len(times)
    if not times or spare < 0:
        return None
    ticks = np.sort(np.array(shown, np.int64))
    known_s = np.array([float(time - times[0]) for time in times])
    found_s = (ticks[spare:] - ticks[spare]) * float(base)
    if np.abs(known_s - found_s).max() > SAME_S or (np.diff(ticks) <= 0).any():
        return None
    places = np.searchsorted(ticks, [pts for pts, *_ in keys]) - spare
    frames = [
        KeyFrame(place, dts, position)
        for place, (_, dts, position) in zip(places.tolist(), keys, strict=True)
        if place >= 0
    ]
    frames.sort(key=lambda frame: frame.place)
    return KeyFrames(frames, int(ticks[spare]) * base - times[0])


def decoded_from(
    container: av.container.InputContainer, stream: av.VideoStream, start: KeyFrame
) -> Iterator[av.VideoFrame] | None:
    """Decode from a key frame on; None if the file does not begin there when it is told to."""
    if container.format.name == _BY_BYTE:
        container.seek(start.position, stream=stream, unsupported_byte_offset=True)
    else:
        container.seek(start.dts, stream=stream)
    packets = container.demux(stream)
    first = next(packets, None)
    if first is None or (first.pos, first.dts) != (start.position, start.dts):
        return None

    def frames() -> Iterator[av.VideoFrame]:
        yield from first.decode()
        for packet in packets:
            yield from packet.decode()

    return frames()
