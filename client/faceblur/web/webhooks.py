"""Tell another program when a file is finished, at the hosts that somebody has allowed.

Signed as on standardwebhooks.com, for which there are libraries. One thread does it, so that nobody
waits for a receiver; what cannot be told is tried again a few times, and then let go.
"""

from __future__ import annotations

import base64
import dataclasses
import heapq
import hmac
import http.client
import json
import logging
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Final

from faceblur.redaction import redact
from faceblur.web.jobs.job import WebJob
from faceblur.web.receivers import Receivers

logger = logging.getLogger(__name__)

RETRIES_S: Final = (2.0, 10.0, 60.0, 300.0)
"""How long a receiver that did not answer well is left alone, each time."""

_TIMEOUT_S: Final = 10.0
_MOST_WAITING: Final = 1000
_GONE: Final = 410


@dataclass(order=True)
class _Delivery:
    due_s: float
    id: str = field(compare=False)
    url: str = field(compare=False)
    body: bytes = field(compare=False)
    attempts: int = field(default=0, compare=False)


class Webhooks:
    """Tells of files that are finished; a context manager, safe to use from threads.

    Args:
        receivers: Who may be told.
        retries_s: See `RETRIES_S`.
    """

    def __init__(self, receivers: Receivers, *, retries_s: tuple[float, ...] = RETRIES_S) -> None:
        self.receivers = receivers
        self._retries_s = retries_s
        self._waiting: list[_Delivery] = []
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="faceblur-web-hooks", daemon=True)

    def __enter__(self) -> Webhooks:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._changed:
            self._closed = True
            if self._waiting:
                logger.warning("the program ends: %d webhooks are not told", len(self._waiting))
            self._changed.notify_all()

    def tell(self, job: WebJob) -> None:
        """Tell whoever wanted to know that a file is finished; returns at once."""
        url = job.submission.webhook
        if url is None:
            return
        said = {
            "type": f"job.{job.state}",
            "timestamp": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "data": job.to_json(),
        }
        number = f"msg_{secrets.token_urlsafe(16)}"
        delivery = _Delivery(time.monotonic(), number, url, json.dumps(said).encode())
        with self._changed:
            if len(self._waiting) >= _MOST_WAITING:
                logger.warning("too many webhooks wait: %s is not told", redact(url))
                return
            heapq.heappush(self._waiting, delivery)
            self._changed.notify_all()

    def _work(self) -> None:
        while (delivery := self._take()) is not None:
            try:
                trouble = self._deliver(delivery)
            except Exception:
                # One receiver must not end the thread that tells the others.
                logger.exception("cannot tell a webhook")
                continue
            if trouble is None:
                continue
            if delivery.attempts >= len(self._retries_s):
                logger.warning("webhook %s: %s; it is let go", redact(delivery.url), trouble)
                continue
            logger.info("webhook %s: %s; it is tried again", redact(delivery.url), trouble)
            due_s = time.monotonic() + self._retries_s[delivery.attempts]
            with self._changed:
                later = dataclasses.replace(delivery, due_s=due_s, attempts=delivery.attempts + 1)
                heapq.heappush(self._waiting, later)

    def _take(self) -> _Delivery | None:
        """Wait for the next that is due; None at the end."""
        with self._changed:
            while not self._closed:
                wait_s = self._waiting[0].due_s - time.monotonic() if self._waiting else None
                if wait_s is not None and wait_s <= 0:
                    return heapq.heappop(self._waiting)
                self._changed.wait(wait_s)
        return None

    def _deliver(self, delivery: _Delivery) -> str | None:
        """Tell one receiver; returns what was wrong."""
        parts = self.receivers.check(delivery.url)
        assert parts.hostname is not None
        is_encrypted = parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_encrypted else http.client.HTTPConnection
        connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            sock = socket.create_connection((parts.hostname, connection.port), _TIMEOUT_S)
            if is_encrypted:
                sock = ssl.create_default_context().wrap_socket(
                    sock, server_hostname=parts.hostname, do_handshake_on_connect=False
                )
            connection.sock = sock
            with _bounded(sock):
                if isinstance(sock, ssl.SSLSocket):
                    sock.do_handshake()
                # Where it sends us on to was not allowed by anybody, so we do not go there.
                connection.request("POST", path, delivery.body, self._headers(delivery))
                status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return f"it does not answer ({error.__class__.__name__})"
        finally:
            connection.close()
        return None if 200 <= status < 300 or status == _GONE else f"it answers with {status}"

    def _headers(self, delivery: _Delivery) -> dict[str, str]:
        stamp = str(int(time.time()))
        signed = f"{delivery.id}.{stamp}.".encode() + delivery.body
        digest = hmac.new(self.receivers.key, signed, "sha256").digest()
        return {
            "Content-Type": "application/json",
            "User-Agent": "faceblur",
            "webhook-id": delivery.id,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }


@contextmanager
def _bounded(sock: socket.socket) -> Iterator[None]:
    """Have whoever reads from a socket read its end once all of that has taken too long."""
    # The timeout of a socket begins anew with every byte that comes.
    late = threading.Timer(_TIMEOUT_S, _break_off, (sock,))
    late.daemon = True
    late.start()
    try:
        yield
    finally:
        late.cancel()


def _break_off(sock: socket.socket) -> None:
    with suppress(OSError):
        # That of a socket with TLS would let a thread that is writing go on without.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
