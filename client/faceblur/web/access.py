"""Who may ask: whoever has opened the printed address, from the page that it shows, nobody else."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSRF_HEADER: Final = "x-csrf-token"
_SAFE: Final = frozenset({"GET", "HEAD"})
_TOKEN_BYTES: Final = 32

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        # blob: is the user's own file, which the page shows beside the result.
        "img-src 'self' blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)

HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""What every answer carries."""


@dataclass(eq=False)
class Access:
    """The token of the address, which works once, and the session that it opens.

    Attributes:
        cookie: Its name. Browsers do not tell ports of one host apart.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES))
    cookie: str = ""
    _sessions: dict[str, str] = field(default_factory=dict)

    def redeem(self, token: str) -> str | None:
        """Exchange the token of the address for a session; None if it is wrong or was used."""
        if not self.token or not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        self.token = ""
        session = secrets.token_urlsafe(_TOKEN_BYTES)
        self._sessions[session] = secrets.token_urlsafe(_TOKEN_BYTES)
        return session

    def session_of(self, connection: HTTPConnection) -> str | None:
        """The session that a request belongs to."""
        session = connection.cookies.get(self.cookie, "")
        return session if session in self._sessions else None

    def csrf(self, session: str) -> str:
        """What requests of this session that change something have to carry."""
        return self._sessions[session]


class Guard:
    """Refuses what does not come from the page itself, and hardens every answer.

    Args:
        app: What answers the rest.
        hosts: What this server is called, host:port; any other name was made to point here.
    """

    def __init__(self, app: ASGIApp, *, access: Access, hosts: frozenset[str]) -> None:
        self._app = app
        self._access = access
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, hardened)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if headers.get("host") not in self._hosts:
            return _refused("this server is not called so", 421)
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self._hosts}:
            return _refused("the request comes from another site")
        path: str = scope["path"]
        if not path.startswith("/api/"):
            return None
        # A browser says where a request comes from; other programs say nothing.
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return _refused("the request comes from another site")
        session = self._access.session_of(HTTPConnection(scope))
        if session is None:
            return _refused("open the address that faceblur web has printed", 401)
        if scope["method"] not in _SAFE:
            given = headers.get(CSRF_HEADER, "")
            if not hmac.compare_digest(given.encode(), self._access.csrf(session).encode()):
                return _refused("the request does not come from the page")
        scope.setdefault("state", {})["owner"] = session
        return None


def _refused(reason: str, code: int = 403) -> Response:
    return PlainTextResponse(f"refused: {reason}\n", status_code=code)
