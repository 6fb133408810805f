"""Say what is missing in a source whose container lets things go missing.

Broadcast streams lose packets, and demuxers go on where the next one makes sense. What never
arrived cannot leak, but nobody should take the result for the whole.
"""

from __future__ import annotations

import heapq
import logging
import statistics
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

logger = logging.getLogger(__name__)

_LOSSY: Final = frozenset(("mpegts", "mpeg", "flv", "asf", "mxf"))
"""Demuxers of containers in which frames come evenly, and can go missing unnoticed."""
_COUNTED: Final = frozenset(("avi", "mxf"))
"""In these a packet is a frame, and the header says how many there are."""
_TELLS_DURATION: Final = frozenset(("flv", "asf", "ogg"))
"""Their headers say how long they are, about."""
_PACKET_BYTES: Final = (188, 192, 204)
"""Of transport streams: plain, with time codes, with error correction."""

_STEPS: Final = 8
_GAP: Final = 1.8
"""A step between frames so many times as long as usual hides one that is missing."""
_UNCHANGED_BYTES: Final = 32
"""Smaller packets can mean that the frame does not change."""
_JOINT_PACKETS: Final = 4
"""So few before a joint may be marked as broken for it."""
_END_TOLERANCE_S: Final = 1.0


class DamageWatch:
    """Watches the packets and frames of one video track, and warns once, at its end."""

    def __init__(self, path: Path, stream: av.VideoStream) -> None:
        self._path = path
        self._stream = stream
        self._format: str = stream.container.format.name
        self._time_base = stream.time_base or Fraction(1, av.time_base)
        self._steps: deque[float] = deque(maxlen=_STEPS)
        self._last_s: float | None = None
        self._packets = self._frames = 0
        self._end = 0
        self._missing = 0
        self._missing_after_s: float | None = None
        self._broken_packets = self._broken_frames = 0
        self._broken_at_s: float | None = None
        self._lately: deque[bool] = deque(maxlen=_JOINT_PACKETS)
        self._interlaced = self._begun_intact = False

    def packet(self, packet: av.Packet[Any]) -> None:
        """Take in the next packet that goes into the decoder."""
        self._packets += packet.size > _UNCHANGED_BYTES
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None:
            self._end = max(self._end, stamp + (packet.duration or 0))
        self._lately.append(bool(packet.is_corrupt))
        if packet.is_corrupt:
            self._broken_packets += 1
            self._note_broken(None if stamp is None else float(stamp * self._time_base))

    def frame(self, frame: av.VideoFrame, time_s: float) -> None:
        """Take in the next frame that came out, and when it is shown."""
        self._frames += 1
        self._interlaced = self._interlaced or frame.interlaced_frame
        if frame.is_corrupt and self._begun_intact:
            self._broken_frames += 1
            self._note_broken(time_s)
        # A recording that was cut in the middle starts with frames that lack what they refer to.
        self._begun_intact = self._begun_intact or not frame.is_corrupt
        if self._last_s is not None:
            self._step(time_s - self._last_s)
        self._last_s = time_s

    def join(self) -> None:
        """Another recording begins, which may have another rate.

        The marks by which demuxers know lost pieces do not go on there: they tell nothing.
        """
        self._broken_packets -= sum(self._lately)
        self._lately.clear()
        if not self._broken_packets and not self._broken_frames:
            self._broken_at_s = None
        self._steps.clear()
        self._last_s = None

    def finish(self) -> None:
        """Warn if anything is missing."""
        found = []
        missing = self._missing + (self._undecoded_packets() if self._format in _COUNTED else 0)
        if missing:
            after_s = self._missing_after_s
            where = "" if after_s is None else f", the first after {after_s:.2f} s"
            found.append(f"about {missing} of its frames are missing{where}")
        broken = max(self._broken_packets, self._broken_frames)
        if broken:
            at = "" if self._broken_at_s is None else f", the first at {self._broken_at_s:.2f} s"
            found.append(f"{broken} came in part only{at}")
        end_s, declared_s = float(self._end * self._time_base), self._declared_s()
        if declared_s is not None and end_s < declared_s:
            found.append(f"it ends at {end_s:.2f} s instead of {declared_s:.2f} s")
        if self._format == "mpegts" and self._ends_within_a_packet():
            found.append("its last packet is cut off")
        if found:
            logger.warning(
                "%s is damaged: %s; what is missing there is missing in the result",
                self._path,
                ", ".join(found),
            )

    def _step(self, step_s: float) -> None:
        if self._format in _LOSSY and len(self._steps) == _STEPS:
            usual_s = statistics.median(self._steps)
            if step_s > _GAP * usual_s:
                self._missing += max(1, round(step_s / usual_s) - 1)
                if self._missing_after_s is None:
                    self._missing_after_s = self._last_s
        self._steps.append(step_s)

    def _undecoded_packets(self) -> int:
        """Packets that no frame came of; two fields may come as two packets."""
        return 0 if self._interlaced else max(0, self._packets - self._frames)

    def _ends_within_a_packet(self) -> bool:
        size = self._path.stat().st_size
        return all(size % length for length in _PACKET_BYTES)

    def _declared_s(self) -> float | None:
        """When the track should end, with what headers are usually wrong by taken off."""
        stream = self._stream
        if self._format in _COUNTED and stream.duration:
            return float(stream.duration * self._time_base)
        container: Any = stream.container
        whole = container.duration
        if self._format in _TELLS_DURATION and whole:
            return float(whole / av.time_base - _END_TOLERANCE_S)
        return None

    def _note_broken(self, time_s: float | None) -> None:
        if self._broken_at_s is None:
            self._broken_at_s = time_s


class FrameLedger:
    """Notices frames that went into a decoder and never came out.

    A decoder that cannot make sense of a packet may say nothing and go on with the next: the
    video would be shorter, and what is missing was never checked.
    """

    def __init__(self) -> None:
        self._expected: list[int] = []
        self._started = False
        self._last = 0
        self._joint: int | None = None
        self._cut_off: set[int] = set()

    def expect(self, pts: int) -> None:
        """A packet with this presentation time was given to the decoder."""
        heapq.heappush(self._expected, pts)
        self._last = pts

    def join(self, pts: int) -> None:
        """The next packet is the first of another recording, joined to the last.

        Neither the last frame before it, which may have been cut off, nor frames after it before
        the first that can be decoded count.
        """
        self._cut_off.add(self._last)
        self._joint = pts

    def deliver(self, pts: int) -> int | None:
        """A frame came out, the next in order of presentation.

        Returns:
            The time of a frame that should have come before it; None if all is well. Frames
            before the first that can be decoded do not count: a recording that was cut in the
            middle has some.
        """
        lost = None
        while self._expected and self._expected[0] <= pts:
            due = heapq.heappop(self._expected)
            run_in = self._joint is not None and due >= self._joint
            if due < pts and self._started and lost is None and not run_in:
                lost = None if due in self._cut_off else due
        if self._joint is not None and pts >= self._joint:
            self._joint = None
        self._started = True
        return lost

    def remaining(self) -> int | None:
        """The time of a frame that never came, once all should have."""
        return min(set(self._expected) - self._cut_off, default=None)
