"""Decode on a device, and go on with the CPU where that fails, with the frame that comes next."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from faceblur.errors import InputError
from faceblur.video.frames import SCALER_THREADS
from faceblur.video.opening import reason
from faceblur.video.orientation import Orientation, side_data
from faceblur.video.surface import VideoSurface, color_matrix, drawable_format, is_full_range

logger = logging.getLogger(__name__)

MOST_KEPT_BYTES: Final = 256 << 20
"""Packets of a file since the last key frame that are kept, to decode them again."""

_FAILURES: Final = (av.error.FFmpegError, EOFError, MemoryError, NotImplementedError)


class DeviceDecoder:
    """Takes packets as a codec context does; a device decodes them as long as it can.

    The packets since the last key frame are kept. Where the device fails, the CPU decodes them
    again, leaves out what has been given already, and goes on with the frame after that, or says
    that it cannot.

    Args:
        device: Codec context that decodes on the device, and only there.
        cpu: Codec context of the same track that has not decoded anything yet.
        name: The device's, for messages.
        label: What is decoded, for messages.
        checked: Hold the first frame against that of the CPU.
        passes: Errors of the device that are told as they are: the stream's, not the device's.
        most_kept_bytes: So much is kept at most. Where more lies between two key frames, the CPU
            cannot take over in there.
        close: Called when it is no longer needed.
    """

    def __init__(
        self,
        device: Any,
        cpu: Any,
        *,
        name: str,
        label: str,
        checked: bool,
        passes: tuple[type[Exception], ...] = (),
        most_kept_bytes: int = MOST_KEPT_BYTES,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._device = device
        self._cpu = cpu
        self._name = name
        self._label = label
        self._unchecked = checked
        self._passes = passes
        self.close = close
        self._kept = _Kept(most_kept_bytes)
        self._given = False
        self._last: int | None = None
        """Time of the frame that was given last."""
        self._resuming = False

    @property
    def name(self) -> str:
        """The device's."""
        return self._name

    @property
    def kept_bytes(self) -> int:
        """Bytes of the packets that are kept at this moment."""
        return self._kept.bytes

    @property
    def on_device(self) -> bool:
        """Whether the device still decodes."""
        return self._device is not None

    def decode(self, packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
        """Decode a packet; with None, or the empty one that PyAV has for the end, what is left.

        Raises:
            InputError: The device has failed where the CPU cannot take over exactly.
            av.error.FFmpegError: What the CPU says, once it has taken over.
        """
        if packet is not None and packet.size == 0 and packet.dts is None:
            packet = None
        if self._device is None and not self._resuming:
            frames: list[av.VideoFrame] = self._cpu.decode(packet)
            return frames
        if packet is not None:
            self._kept.add(packet, self._last)
        if self._device is None:
            return self._resumed(self._cpu.decode(packet), at_end=packet is None)
        try:
            frames = self._device.decode(packet)
        except _FAILURES as error:
            # Before the first frame it may be the device that makes no sense of a whole stream.
            begins = not self._given and packet is not None and packet.is_keyframe
            if isinstance(error, self._passes) and not begins:
                raise
            return self._take_over(reason(error), at_end=packet is None)
        if frames and self._unchecked:
            self._unchecked = False
            objection = self._objection(frames[0])
            if objection:
                return self._take_over(objection, at_end=packet is None)
        for frame in frames:
            self._given, self._last = True, frame.pts
        self._kept.delivered(self._last)
        return frames

    def _take_over(self, why: str, *, at_end: bool) -> list[av.VideoFrame]:
        """Decode on the CPU from the last key frame on."""
        self._device = None
        _say(self._name, why, self._label)
        if not self._kept.suffices(self._last, given=self._given):
            raise self._lost()
        self._cpu.flush_buffers()
        self._resuming = True
        frames: list[av.VideoFrame] = []
        for packet in self._kept.packets():
            frames += self._cpu.decode(packet)
        if at_end:
            frames += self._cpu.decode(None)
        return self._resumed(frames, at_end=at_end)

    def _resumed(self, frames: list[av.VideoFrame], *, at_end: bool) -> list[av.VideoFrame]:
        """What of the CPU's frames has not been given, up to where it is level."""
        last = self._last
        new = [f for f in frames if last is None or (f.pts is not None and f.pts > last)]
        due = self._kept.due(last)
        if new:
            if last is not None and new[0].pts != due:
                raise self._lost()
        elif not at_end or due is None or last is None:
            return []
        else:
            raise self._lost()
        self._resuming = False
        self._kept = _Kept(0)
        return new

    def _lost(self) -> InputError:
        return InputError(
            f"{self._label}: {self._name} has failed where the CPU cannot take over without "
            "leaving out a frame: run it again with --hardware-decoding off"
        )

    def _objection(self, frame: av.VideoFrame) -> str:
        """What speaks against the device's first frame; nothing if the CPU's is the same."""
        try:
            expected = self._first_of_cpu()
        except _FAILURES as error:
            return reason(error)
        finally:
            self._cpu.flush_buffers()
        if expected is None:
            return "it gives a frame where the CPU has none"
        return difference(frame, expected)

    def _first_of_cpu(self) -> av.VideoFrame | None:
        for packet in self._kept.packets():
            if frames := self._cpu.decode(packet):
                return frames[0]  # type: ignore[no-any-return]
        return next(iter(self._cpu.decode(None)), None)


class _Kept:
    """The packets from which a decoder could begin anew, in the order of decoding."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        # Each group but the first begins with a key frame.
        self._groups: deque[list[av.Packet[Any]]] = deque()
        self._bytes = 0
        self._whole = True
        """Nothing was left out since the start."""

    @property
    def bytes(self) -> int:
        return self._bytes

    def packets(self) -> list[av.Packet[Any]]:
        return [packet for group in self._groups for packet in group]

    def add(self, packet: av.Packet[Any], last: int | None) -> None:
        """Keep a packet; `last` is the time of the frame that came out last."""
        if packet.is_keyframe or (self._whole and not self._groups):
            self._groups.append([])
        if self._groups:
            self._groups[-1].append(packet)
            self._bytes += packet.size
        # Else what it needs was too much, and it is of no use before the next key frame.
        if self._bytes > self._most_bytes:
            self._groups.clear()
            self._bytes, self._whole = 0, False
        self.delivered(last)

    def delivered(self, last: int | None) -> None:
        """Let go of what lies before a key frame that has come out: all before it has, too."""
        while last is not None and len(self._groups) > 1 and _starts_by(self._groups[1], last):
            self._bytes -= sum(packet.size for packet in self._groups.popleft())
            self._whole = False

    def suffices(self, last: int | None, *, given: bool) -> bool:
        """Whether all frames after this time can be decoded of it, and told from those before."""
        if not given and self._whole:
            return True
        packets = self.packets()
        if any(packet.pts is None for packet in packets):
            return False
        if sum(packet.pts == last for packet in packets) > 1:
            return False
        starts = bool(packets) and packets[0].is_keyframe
        return self._whole or (starts and last is not None and _starts_by(self._groups[0], last))

    def due(self, last: int | None) -> int | None:
        """The time of the first frame after another."""
        times = (p.pts for p in self.packets() if p.pts is not None and not p.is_discard)
        return min((pts for pts in times if last is None or pts > last), default=None)


def _starts_by(group: list[av.Packet[Any]], last: int) -> bool:
    pts = group[0].pts
    return pts is not None and pts <= last


def difference(frame: av.VideoFrame, expected: av.VideoFrame) -> str:
    """How two decoders' frames differ; empty if they are the same, in whatever layout."""
    name = drawable_format(expected.format.name)
    facts: dict[str, Callable[[av.VideoFrame], object]] = {
        "size": lambda f: (f.width, f.height),
        "time": lambda f: f.pts,
        "range": is_full_range,
        "colours": lambda f: (color_matrix(f), f.color_primaries, f.color_trc),
        "orientation": Orientation.of,
        "side data": lambda f: side_data(f).keys(),
    }
    for what, of in facts.items():
        if of(frame) != of(expected):
            return f"its frames differ from the CPU's in {what}"
    plain = drawable_format(frame.format.name)
    if plain.replace("yuvj", "yuv") != name.replace("yuvj", "yuv"):
        return f"its frames are {plain}, the CPU's {name}"
    pair = [_laid_out(each) for each in (frame, expected)]
    for mine, theirs in zip(*(VideoSurface(each).all_planes for each in pair), strict=True):
        if not np.array_equal(mine.pixels, theirs.pixels):
            return "its frames differ from the CPU's"
    return ""


def _laid_out(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame in planes."""
    name = drawable_format(frame.format.name)
    if name == frame.format.name:
        return frame
    return VideoReformatter().reformat(frame, format=name, threads=SCALER_THREADS)


def _say(name: str, why: str, label: str) -> None:
    """Say it, each reason once."""
    level = logging.INFO if (name, why) in _said else logging.WARNING
    _said.add((name, why))
    logger.log(level, "%s: %s cannot decode it (%s); the CPU goes on", label, name, why)


_said: set[tuple[str, str]] = set()
