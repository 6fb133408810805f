"""What publishing and watching by WebRTC have in common: WHIP and WHEP, an offer by HTTP.

Nothing here needs aiortc.
"""

from __future__ import annotations

import asyncio
import base64
import threading
import urllib.request
from collections.abc import Coroutine
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from faceblur.detection.triton.loopback import open_url

CLOSE_S: Final = 2.0
_MOST_BYTES: Final = 1 << 20

Result = TypeVar("Result")


class LoopThread:
    """An event loop in a thread of its own, for code that does not await."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def wait(self, work: Coroutine[Any, Any, Result], timeout_s: float) -> Result:
        """The result of work in the loop.

        Raises:
            TimeoutError: There is none in time; the work is cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout_s)
        finally:
            future.cancel()

    def stop(self) -> None:
        """End the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)

    def _run(self) -> None:
        self.loop.run_forever()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left))
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


def endpoint(target: str) -> tuple[str, dict[str, str]]:
    """Address and headers: `https://user:password@…`, or `https://:TOKEN@…` for a bearer token."""
    parts = urlsplit(target)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return address, {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    if parts.password:
        return address, {"Authorization": f"Bearer {unquote(parts.password)}"}
    return address, {}


def send_offer(
    url: str, offer: str, headers: dict[str, str], *, timeout_s: float
) -> tuple[str, str]:
    """Send an offer; the answer, and where the session is, empty if the server does not say.

    Nor where it is elsewhere: only the server that was asked gets to see the headers.

    Raises:
        OSError: It is not taken.
    """
    headers = {"Content-Type": "application/sdp", **headers}
    request = urllib.request.Request(url, offer.encode(), headers, method="POST")
    with open_url(request, timeout_s=timeout_s) as reply:
        location: str = reply.headers.get("Location", "")
        session = urljoin(url, location) if location else ""
        is_there = urlsplit(session)[:2] == urlsplit(url)[:2]
        return reply.read(_MOST_BYTES).decode(), session if is_there else ""


def end_session(url: str, headers: dict[str, str]) -> None:
    """Say goodbye.

    Raises:
        OSError: Nobody hears it.
    """
    request = urllib.request.Request(url, None, headers, method="DELETE")
    with open_url(request, timeout_s=CLOSE_S):
        return
