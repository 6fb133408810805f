"""Let times go on where the clock of a file starts again.

Recordings that were joined byte by byte, and what recorders write after a pause, count from
anywhere again in the middle. As FFmpeg's own tools do, what follows such a joint is moved to the
end of what was before it, every track by the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from faceblur.video.packets import Packet, PacketQueue

_BACK_S: Final = Fraction(1, 10)
"""A track's clock does not go back by more, but at a joint."""
_GUESSED_BACK_S: Final = 1
"""The same for containers that do not store when packets are decoded."""
_LEAP_S: Final = 10
"""Nor leap ahead by more than all other tracks, in containers whose clock may do that."""
_NEAR_S: Final = 5
"""Tracks start again at about the same time."""
_AHEAD_PACKETS: Final = 64
_DEFAULT_STEP_S: Final = Fraction(1, 25)


@dataclass
class _TrackClock:
    """Where a track's clock is."""

    joint: int = 0
    offset_s: Fraction = Fraction(0)
    last_s: Fraction | None = None


class ClockJoiner:
    """Gives the packets of one file times that go on; for one pass.

    The clock of a transport or program stream (`broadcast`) is exact, and may leap ahead at a
    joint, too.
    """

    def __init__(self, queue: PacketQueue, *, broadcast: bool) -> None:
        self._queue = queue
        self._broadcast = broadcast
        self._clocks: dict[int, _TrackClock] = {}
        self._joint = 0
        self._offset_s = Fraction(0)
        self._front_s = Fraction(0)
        """The latest of the files's own times since the last joint."""
        self._end_s = Fraction(0)
        """When all that has come so far ends, in renewed time."""

    def renew(self, packet: Packet) -> Fraction | None:
        """Move a packet to its place in time.

        Returns:
            By how many seconds the clock went forward (or back, if negative) at this packet, when
            it is its track's first one behind a joint; None otherwise.
        """
        time_s = _time_s(packet)
        if time_s is None:
            return None
        clock = self._clocks.setdefault(
            packet.stream.index, _TrackClock(self._joint, self._offset_s)
        )
        last_s, leap_s = clock.last_s, None
        if clock.joint < self._joint and self._follows(time_s, clock):
            self._pass(clock)
            leap_s = time_s - (last_s or time_s)
        elif self._is_joint(packet, time_s, clock):
            self._begin(packet, time_s)
            self._pass(clock)
            leap_s = time_s - (last_s or time_s)
        clock.last_s = time_s
        if clock.joint == self._joint:
            self._front_s = max(self._front_s, time_s)
        shift = round(clock.offset_s / packet.time_base)
        if packet.pts is not None:
            packet.pts += shift
        if packet.dts is not None:
            packet.dts += shift
        self._end_s = max(self._end_s, _end_s(packet))
        return leap_s

    def _is_joint(self, packet: Packet, time_s: Fraction, clock: _TrackClock) -> bool:
        if clock.last_s is None or packet.stream.type not in ("video", "audio"):
            return False
        if time_s < clock.last_s - (_BACK_S if self._broadcast else _GUESSED_BACK_S):
            return True
        # A track may pause while others go on.
        front_s = max(each.last_s for each in self._clocks.values() if each.last_s is not None)
        return self._broadcast and time_s > front_s + _LEAP_S

    def _follows(self, time_s: Fraction, clock: _TrackClock) -> bool:
        """Whether a packet fits the clock behind the last joint better than its track's."""
        ahead_s = abs(time_s - self._front_s)
        return ahead_s < _NEAR_S and (clock.last_s is None or ahead_s <= abs(time_s - clock.last_s))

    def _pass(self, clock: _TrackClock) -> None:
        clock.joint, clock.offset_s = self._joint, self._offset_s

    def _begin(self, packet: Packet, time_s: Fraction) -> None:
        """Decide what is added behind a joint, by what of each track lies on either side of it."""
        begin_s, end_s = _start_s(packet), self._end_s
        passed = {packet.stream.index}
        for other in self._queue.peek(_AHEAD_PACKETS):
            other_s = _time_s(other)
            clock = self._clocks.get(other.stream.index)
            if other_s is None:
                continue
            if other.stream.index not in passed and clock and clock.last_s is not None:
                if abs(other_s - clock.last_s) < abs(other_s - time_s):
                    end_s = max(end_s, _end_s(other) + clock.offset_s)
                    continue
                passed.add(other.stream.index)
            if abs(other_s - time_s) < _NEAR_S:
                begin_s = min(begin_s, _start_s(other))
        self._joint += 1
        self._offset_s = end_s - begin_s
        self._front_s = time_s


def _time_s(packet: Packet) -> Fraction | None:
    stamp = packet.pts if packet.dts is None else packet.dts
    return None if stamp is None or not packet.time_base else stamp * packet.time_base


def _start_s(packet: Packet) -> Fraction:
    """When what a packet holds is played."""
    stamp = packet.dts if packet.pts is None else packet.pts
    return Fraction(stamp * packet.time_base)


def _end_s(packet: Packet) -> Fraction:
    if packet.duration:
        return _start_s(packet) + Fraction(packet.duration * packet.time_base)
    return _start_s(packet) + (_DEFAULT_STEP_S if packet.stream.type == "video" else 0)
