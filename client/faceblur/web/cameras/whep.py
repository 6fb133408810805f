"""The frames that a media server gives out by WebRTC (WHEP)."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.error
from collections.abc import Generator
from contextlib import suppress
from functools import partial
from typing import Any, Final

import av

from faceblur.errors import InputError, install_line
from faceblur.live.webrtc import CLOSE_S, LoopThread, end_session, endpoint, send_offer
from faceblur.redaction import redact_address

_OPEN_S: Final = 10.0
_SILENCE_S: Final = 8.0
_REFUSED: Final = (401, 403)


def received(
    url: str, stopping: threading.Event
) -> Generator[tuple[av.VideoFrame, float] | None, None, None]:
    """Frames as they come, none of them old; None while there are none.

    Raises:
        InputError: aiortc is not installed, or nothing comes, or no more.
    """
    try:
        session = _Session(url)
    except ImportError as error:
        raise InputError(f"watching WebRTC needs aiortc; run: {install_line('whip')}") from error
    try:
        session.open()
        heard_s = time.monotonic()
        while not stopping.is_set():
            frame = session.next_frame(0.5)
            yield None if frame is None else (frame, 0.0)
            now_s = time.monotonic()
            heard_s = heard_s if frame is None else now_s
            if session.has_ended or now_s - heard_s > _SILENCE_S:
                raise InputError(f"{redact_address(url)}: it has ended")
    finally:
        session.close()


class _Session:
    """A connection that receives frames; only the newest one is kept."""

    def __init__(self, url: str) -> None:
        # aiortc is large, and an extra.
        from aiortc import RTCConfiguration, RTCPeerConnection

        self._target = url
        self._url, self._headers = endpoint(url)
        self._resource = ""
        self._changed = threading.Condition()
        self._newest: av.VideoFrame | None = None
        self._is_over = False
        self._thread = LoopThread("faceblur-whep")
        # Nobody else is asked for our address.
        self._make: Any = partial(RTCPeerConnection, RTCConfiguration(iceServers=[]))
        self._connection: Any = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether no more can come."""
        return self._is_over or self._connection.connectionState in ("failed", "closed")

    def open(self) -> None:
        """Connect.

        Raises:
            InputError: The server does not let us.
        """
        try:
            self._thread.wait(self._connect(), _OPEN_S)
        except (OSError, ValueError, TimeoutError) as error:
            reason = getattr(error, "reason", None) or str(error) or "no answer in time"
            raise InputError(f"{redact_address(self._target)}: {reason}") from error

    def next_frame(self, timeout_s: float) -> av.VideoFrame | None:
        """The newest frame, once; None if none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._is_over, timeout_s)
            frame, self._newest = self._newest, None
            return frame

    def close(self) -> None:
        """Say goodbye, and close the connection."""
        # Else it notices by itself that nobody is there.
        with suppress(OSError, TimeoutError):
            self._thread.wait(self._leave(), 2 * CLOSE_S)
        self._thread.stop()

    async def _connect(self) -> None:
        from aiortc import RTCSessionDescription

        self._connection = self._make()
        self._connection.on("track", self._begin)
        self._connection.addTransceiver("video", direction="recvonly")
        await self._connection.setLocalDescription(await self._connection.createOffer())
        answer, self._resource = await asyncio.to_thread(
            self._offer, self._connection.localDescription.sdp
        )
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    def _offer(self, offer: str) -> tuple[str, str]:
        """The answer; who may publish may not be among those who may watch, when anybody may."""
        try:
            return send_offer(self._url, offer, self._headers, timeout_s=_OPEN_S)
        except urllib.error.HTTPError as error:
            if error.code not in _REFUSED or not self._headers:
                raise
        self._headers = {}
        return send_offer(self._url, offer, {}, timeout_s=_OPEN_S)

    def _begin(self, track: Any) -> None:
        if track.kind == "video":
            self._reading = asyncio.ensure_future(self._read(track))

    async def _read(self, track: Any) -> None:
        from aiortc.mediastreams import MediaStreamError

        try:
            while True:
                frame = await track.recv()
                with self._changed:
                    self._newest = frame
                    self._changed.notify_all()
        except MediaStreamError:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    async def _leave(self) -> None:
        if self._connection is not None:
            await self._connection.close()
        if self._resource:
            await asyncio.to_thread(end_session, self._resource, self._headers)
