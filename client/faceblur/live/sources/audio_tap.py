"""Take the audio off a stream that is being read for its frames."""

from __future__ import annotations

import logging
from typing import Any

from faceblur.live.audio import AudioFormat, AudioPacket, AudioQueue
from faceblur.live.sources.clock import StreamClock

logger = logging.getLogger(__name__)


class AudioTap:
    """Collects packets, on the clock of the frames of the same stream.

    Attributes:
        format: What the audio is like; None without any.
    """

    def __init__(self, clock: StreamClock) -> None:
        self.format: AudioFormat | None = None
        self._clock = clock
        self._early: list[tuple[float, AudioPacket]] = []
        """Came before the first frame, so that it is not yet known what their times mean."""
        self._ready = AudioQueue()

    def open(self, container: Any, label: str) -> Any:
        """The stream to take packets of; None without any."""
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            return None
        try:
            self.format = AudioFormat.of(stream)
        except (ValueError, OSError) as error:
            codec = stream.codec_context.name
            logger.warning("%s: goes without sound: %s: %s", label, codec, error)
            return None
        return stream

    def add(self, packet: Any) -> None:
        """Take in a packet of the stream."""
        own = packet.dts if packet.pts is None else packet.pts
        if own is None or not packet.size:
            return
        own_s = float(own * packet.time_base)
        duration_s = float((packet.duration or 0) * packet.time_base)
        self._early.append((own_s, AudioPacket(0.0, duration_s, bytes(packet))))
        self._place()

    def take(self) -> list[AudioPacket]:
        """What has come since the last time."""
        self._place()
        return self._ready.take()

    def _place(self) -> None:
        offset_s = self._clock.offset_s
        if offset_s is None:
            del self._early[:-100]
            return
        self._ready.add(
            AudioPacket(own_s + offset_s, packet.duration_s, packet.data)
            for own_s, packet in self._early
        )
        self._early.clear()
