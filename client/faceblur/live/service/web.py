"""The service's own HTTP: metrics, health, readiness and status. It never serves an image."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from faceblur.live.http_server import Handler, serve
from faceblur.live.service.metrics import CONTENT_TYPE, exporter
from faceblur.live.service.status import ServiceStatus
from faceblur.live.stats import HUNG_S

logger = logging.getLogger(__name__)

JSON: Final = "application/json"


class StatusServer:
    """Answers at host:port, port 0 being a free one, until closed; a context manager.

    `status` is called from any thread.

    Raises:
        OutputError: It cannot listen there.
    """

    def __init__(self, listen: str, status: Callable[[], ServiceStatus]) -> None:
        handler = partial(_Handler, _pages(status))
        self._server = serve(listen, handler, advice="give listen another address")

    @property
    def address(self) -> str:
        """host:port that it listens at."""
        host, port = self._server.server_address[:2]
        name = host.decode() if isinstance(host, bytes) else str(host)
        return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> StatusServer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


Page = Callable[[], tuple[int, str, bytes]]


def _pages(status: Callable[[], ServiceStatus]) -> dict[str, Page]:
    metrics = exporter(status)

    def verdict(name: str, reasons: list[str]) -> tuple[int, str, bytes]:
        return 503 if reasons else 200, JSON, _json({name: not reasons, "reasons": reasons})

    return {
        "/metrics": lambda: (200, CONTENT_TYPE, metrics()),
        "/healthz": lambda: verdict("healthy", status().unhealthy(limit_s=HUNG_S)),
        "/readyz": lambda: verdict("ready", status().unready()),
        "/status": lambda: (200, JSON, _json(status().to_json())),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode() + b"\n"


class _Handler(Handler):
    def __init__(self, pages: dict[str, Page], *request: Any) -> None:
        self._pages = pages
        super().__init__(*request)

    def do_GET(self) -> None:  # noqa: N802
        """Answer with a page."""
        page = self._pages.get(self.path.partition("?")[0])
        if page is None:
            known = "\n".join(self._pages)
            self._answer(404, "text/plain", f"there are:\n{known}\n".encode())
            return
        self._answer(*page())

    def log_message(self, format: str, *args: Any) -> None:
        """Keep requests out of the log except at debug level."""
        logger.debug(format, *args)

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)
