"""Take the sound off a stream that is being read for its pictures."""

from __future__ import annotations

import logging
from typing import Any

from faceblur.live.audio import SoundFormat, SoundPacket, SoundQueue
from faceblur.live.sources.clock import StreamClock

logger = logging.getLogger(__name__)


class SoundTap:
    """Collects packets, on the clock of the pictures.

    Args:
        clock: Of the pictures of the same stream.

    Attributes:
        format: What the sound is like; None without any.
    """

    def __init__(self, clock: StreamClock) -> None:
        self.format: SoundFormat | None = None
        self._clock = clock
        self._early: list[tuple[float, SoundPacket]] = []
        """Came before the first picture, so that it is not yet known what their times mean."""
        self._heard = SoundQueue()

    def open(self, container: Any, label: str) -> Any:
        """The stream to listen to; None without any."""
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            return None
        try:
            self.format = SoundFormat.of(stream)
        except (ValueError, OSError) as error:
            codec = stream.codec_context.name
            logger.warning("%s: goes without sound: %s: %s", label, codec, error)
            return None
        return stream

    def hear(self, packet: Any) -> None:
        """Take in a packet of the stream."""
        own = packet.dts if packet.pts is None else packet.pts
        if own is None or not packet.size:
            return
        own_s = float(own * packet.time_base)
        duration_s = float((packet.duration or 0) * packet.time_base)
        self._early.append((own_s, SoundPacket(0.0, duration_s, bytes(packet))))
        self._place()

    def take(self) -> list[SoundPacket]:
        """What was heard since the last time."""
        self._place()
        return self._heard.take()

    def _place(self) -> None:
        offset_s = self._clock.offset_s
        if offset_s is None:
            del self._early[:-100]
            return
        self._heard.add(
            SoundPacket(own_s + offset_s, packet.duration_s, packet.data)
            for own_s, packet in self._early
        )
        self._early.clear()
