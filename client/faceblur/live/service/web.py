"""The service's own HTTP: metrics, health, readiness, status, and orders. Never an image."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from faceblur.errors import InputError
from faceblur.live.http_server import Handler, serve
from faceblur.live.service.control import MAX_BYTES, PAGE, VIEWS, Control, Order, parse_order
from faceblur.live.service.metrics import CONTENT_TYPE, exporter
from faceblur.live.service.status import ServiceStatus
from faceblur.live.stats import HUNG_S
from faceblur.live.views import View

logger = logging.getLogger(__name__)

JSON: Final = "application/json"


Page = Callable[[], tuple[int, str, bytes]]
Views = Callable[[], Mapping[str, Sequence[View]]]


class PageServer:
    """Answers at host:port, port 0 being a free one, until closed; a context manager.

    The pages, `order` and `views` are called from any thread; without `order` it takes no orders,
    and without `views` it tells nobody where cameras can be watched.

    Raises:
        OutputError: It cannot listen there.
    """

    def __init__(
        self,
        listen: str,
        pages: dict[str, Page],
        order: Callable[[Order, str], None] | None = None,
        views: Views | None = None,
    ) -> None:
        self._orders = _Orders(order, views)
        handler = partial(_Handler, pages, self._orders)
        self._server = serve(listen, handler, advice="give listen another address")
        if order is not None:
            self._orders.control = Control(self.address)

    @property
    def address(self) -> str:
        """host:port that it listens at."""
        host, port = self._server.server_address[:2]
        name = host.decode() if isinstance(host, bytes) else str(host)
        return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"

    def close(self) -> None:
        """Stop listening."""
        if self._orders.control is not None:
            self._orders.control.close()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> PageServer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class StatusServer(PageServer):
    """Shows a service of cameras; `status`, `order` and `views` are called from any thread.

    Raises:
        OutputError: It cannot listen there.
    """

    def __init__(
        self,
        listen: str,
        status: Callable[[], ServiceStatus],
        order: Callable[[Order, str], None] | None = None,
        views: Views | None = None,
    ) -> None:
        super().__init__(listen, _pages(status), order, views)


def verdict(name: str, reasons: list[str]) -> tuple[int, str, bytes]:
    """A page that says yes, or no and why."""
    return 503 if reasons else 200, JSON, as_json({name: not reasons, "reasons": reasons})


def _pages(status: Callable[[], ServiceStatus]) -> dict[str, Page]:
    metrics = exporter(status)
    return {
        "/metrics": lambda: (200, CONTENT_TYPE, metrics()),
        "/healthz": lambda: verdict("healthy", status().unhealthy(limit_s=HUNG_S)),
        "/readyz": lambda: verdict("ready", status().unready()),
        "/status": lambda: (200, JSON, as_json(status().to_json())),
    }


def as_json(value: Any) -> bytes:
    """A value as a page."""
    return json.dumps(value, allow_nan=False).encode() + b"\n"


class _Orders:
    """What takes orders, and answers who may give them, once it is known where it listens."""

    def __init__(self, order: Callable[[Order, str], None] | None, views: Views | None) -> None:
        self.order = order
        self.views = views
        self.control: Control | None = None


class _Handler(Handler):
    def __init__(self, pages: dict[str, Page], orders: _Orders, *request: Any) -> None:
        self._pages = pages
        self._orders = orders
        super().__init__(*request)

    def do_GET(self) -> None:  # noqa: N802
        """Answer with a page."""
        if self.path == VIEWS and self._orders.views is not None:
            self._answer_views(self._orders.views)
            return
        page = self._pages.get(self.path.partition("?")[0])
        if page is None:
            known = "\n".join(self._pages)
            self._answer(404, "text/plain", f"there are:\n{known}\n".encode())
            return
        self._answer(*page())

    def do_POST(self) -> None:  # noqa: N802
        """Take an order."""
        order, control = self._orders.order, self._orders.control
        if self.path != PAGE or order is None or control is None:
            self._say(404, "there is nothing to send this to")
            return
        if not self._has_token(control):
            self._say(403, "the token is missing, or is another one")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BYTES:
            self._say(413, "an order is short, and says how long it is")
            return
        try:
            order(*parse_order(self.rfile.read(int(length))))
        except InputError as mistake:
            self._say(422, str(mistake))
            return
        self._say(202, "it is done soon")

    def _answer_views(self, views: Views) -> None:
        """Say where cameras can be watched, with credentials, to who could read these anyway."""
        if self._orders.control is None or not self._has_token(self._orders.control):
            self._say(403, "the token is missing, or is another one")
            return
        found = {name: [view.to_json() for view in each] for name, each in views().items()}
        self._answer(200, JSON, as_json(found))

    def _has_token(self, control: Control) -> bool:
        authorization = self.headers.get("Authorization", "")
        return control.allows(str(self.client_address[0]), authorization)

    def _say(self, code: int, sentence: str) -> None:
        # What was sent may be unread.
        self.close_connection = True
        self._answer(code, "text/plain; charset=utf-8", f"{sentence}\n".encode())

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
