"""Push frames by WebRTC to a media server (WHIP, RFC 9725).

Through aiortc: FFmpeg's own muxer does not get through the DTLS handshake with OpenSSL where FFmpeg
was built with GnuTLS, as PyAV's is.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Final

import av

from faceblur.errors import OutputError, install_line
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.writer import EncodedWriter
from faceblur.live.webrtc import CLOSE_S, LoopThread, end_session, endpoint, send_offer

try:
    from aiortc import (
        MediaStreamTrack,
        RTCConfiguration,
        RTCPeerConnection,
        RTCRtpSender,
        RTCSessionDescription,
    )
except ImportError as error:
    raise OutputError(f"whip: needs aiortc; run: {install_line('whip')}") from error

logger = logging.getLogger(__name__)

WAITING: Final = 64
"""Packets of a stream that wait to be sent; then the oldest are dropped."""


class WhipWriter(EncodedWriter):
    """Publishes to a media server, which passes the stream on to browsers."""

    def open_target(self) -> _Session:
        """Connect to the server."""
        return _Session(self._options, with_audio=self._audio is not None)

    def _check_target(self) -> None:
        if self._target is not None and self._target.has_failed:
            raise OutputError(f"{self._options.label}: the other side has gone")


class _Stream:
    """What an encoder takes for a container's stream."""

    def __init__(self, context: Any, track: _Track) -> None:
        self.codec_context = context
        self._track = track

    def encode(self, frame: Any) -> list[tuple[_Track, Any]]:
        return [(self._track, packet) for packet in self.codec_context.encode(frame)]


class _Track(MediaStreamTrack):
    """Packets on their way to the other side."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__()
        self._packets: asyncio.Queue[Any] = asyncio.Queue(WAITING)

    def put(self, packet: Any) -> None:
        if self._packets.full():
            self._packets.get_nowait()
        self._packets.put_nowait(packet)

    async def recv(self) -> Any:
        return await self._packets.get()


class _Session:
    """A connection to a server, which an encoder takes for a container."""

    def __init__(self, options: SinkOptions, *, with_audio: bool) -> None:
        self._options = options
        self._url, self._headers = endpoint(options.target)
        self._resource = ""
        self._thread = LoopThread("faceblur-whip")
        kinds = ("video", "audio") if with_audio else ("video",)
        try:
            self._thread.wait(self._connect(kinds), options.open_timeout_s)
        except (OSError, ValueError, FutureTimeoutError, TimeoutError) as error:
            self.close()
            reason = getattr(error, "reason", None) or str(error) or "no answer in time"
            raise OutputError(f"{options.label}: {reason}") from error

    @property
    def has_failed(self) -> bool:
        """Whether the other side has gone."""
        return self._connection.connectionState != "connected"

    def add_stream(self, codec: str, **settings: Any) -> _Stream:
        """Add a stream, as an output container of PyAV does."""
        context: Any = av.CodecContext.create(codec, "w")
        context.options = settings.pop("options", {})
        if context.type == "audio":
            context.format = "flt"
            context.sample_rate, context.layout = settings["rate"], settings["layout"]
        return _Stream(context, self._tracks[context.type])

    def mux(self, packet: tuple[_Track, Any]) -> None:
        """Send a packet, as an output container of PyAV writes one."""
        track, data = packet
        self._thread.loop.call_soon_threadsafe(track.put, data)

    def close(self) -> None:
        """Say goodbye, and close the connection."""
        try:
            self._thread.wait(self._leave(), CLOSE_S)
        except (OSError, FutureTimeoutError, TimeoutError) as error:
            logger.debug("%s: %s", self._options.label, error)
        self._thread.stop()

    async def _connect(self, kinds: tuple[str, ...]) -> None:
        # Only the server's own address is needed, and nobody else is asked for ours.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._tracks = {kind: _Track(kind) for kind in kinds}
        for kind, track in self._tracks.items():
            sender = self._connection.addTransceiver(track, direction="sendonly")
            if kind == "video":
                codecs = RTCRtpSender.getCapabilities(kind).codecs
                wanted = ("video/h264", "video/rtx")
                sender.setCodecPreferences([c for c in codecs if c.mimeType.lower() in wanted])
        await self._connection.setLocalDescription(await self._connection.createOffer())
        offer, timeout_s = self._connection.localDescription.sdp, self._options.open_timeout_s
        answer, self._resource = await asyncio.to_thread(
            send_offer, self._url, offer, self._headers, timeout_s=timeout_s
        )
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        while self._connection.connectionState != "connected":
            if self._connection.connectionState in ("failed", "closed"):
                raise ConnectionError("the other side does not take the connection")
            await asyncio.sleep(0.02)

    async def _leave(self) -> None:
        if self._resource:
            await asyncio.to_thread(end_session, self._resource, self._headers)
        await self._connection.close()
