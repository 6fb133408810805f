"""Who may ask: the page that the printed address shows, and programs that have the token."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceblur.web.answers import refused
from faceblur.web.names import Names

CSRF_HEADER: Final = "x-csrf-token"
_QUERY: Final = "proof"
"""Where a browser that asks by itself, for what happens or for a download, shows it."""
_OF_A_FILE: Final = "/api/jobs/"
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

_ENCRYPTED: Final = {"Strict-Transport-Security": "max-age=86400"}
"""A day, for it holds for all that is served under this name."""


@dataclass(eq=False)
class Access:
    """The token of the address, which works once, and the session that it opens.

    Attributes:
        names: What the server is called.
        bearer: What programs show, each time; None if none may ask.
        on_shown: Called with the address of whoever has shown that, or a session, and its port.
        is_trusted: Somebody else vouches for the certificate.
        token: What the address shows, once.
        programs: Whose files those of programs are.
    """

    names: Names
    bearer: str | None = field(default=None, repr=False)
    on_shown: Callable[[tuple[str, int]], None] = field(default=lambda _: None, repr=False)
    is_trusted: bool = False
    token: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES))
    programs: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES))
    _sessions: dict[str, str] = field(default_factory=dict)

    @property
    def is_encrypted(self) -> bool:
        """Whether cookies go through TLS alone."""
        return self.names.scheme == "https"

    @property
    def cookie(self) -> str:
        """What the cookie is called. Browsers do not tell ports of one host apart."""
        # With this prefix, no page but one of this very host can have set it.
        return f"{'__Host-' if self.is_encrypted else ''}faceblur-{self.names.port}"

    def redeem(self, token: str) -> str | None:
        """Exchange the token of the address for a session; None if it is wrong or was used."""
        if not self.token or not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        self.token = ""
        session = secrets.token_urlsafe(_TOKEN_BYTES)
        self._sessions[session] = token
        return session

    def session_of(self, connection: HTTPConnection) -> str | None:
        """The session that a request belongs to."""
        session = connection.cookies.get(self.cookie, "")
        return session if session in self._sessions else None

    def is_program(self, authorization: str) -> bool:
        """Whether an Authorization header shows the token of programs."""
        scheme, _, given = authorization.partition(" ")
        if self.bearer is None or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), self.bearer.encode())

    def csrf(self, session: str) -> str:
        """What shows that a request of this session comes from the page itself.

        It is the token of the address, which the page keeps where no page of another port can look.
        Cookies alone tell nobody apart from whoever serves a page at another port of this host:
        browsers hand them over there, too.
        """
        return self._sessions.get(session, "")

    def shown_by(self, client: tuple[str, int] | None) -> None:
        """Note that somebody has shown a session or the token; None where they have gone."""
        if client is not None:
            self.on_shown(client)


class Guard:
    """Refuses what does not come from the page itself, and hardens every answer.

    Args:
        app: What answers the rest.
    """

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access
        self._headers = HEADERS | (_ENCRYPTED if access.is_trusted else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, hardened)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        path: str = scope["path"]
        say = _refused if path.startswith("/api/") else _refused_page
        host = headers.get("host")
        if host is None or not self._access.names.includes(host):
            return say("this server is not called so", 421)
        if headers.get("origin", self._access.names.origin(host)) != self._access.names.origin(
            host
        ):
            return say("the request comes from another site")
        if not path.startswith("/api/"):
            return None
        # A browser says where a request comes from; other programs say nothing.
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return say("the request comes from another site")
        state = scope.setdefault("state", {})
        authorization = headers.get("authorization")
        if authorization is not None:
            if not self._access.is_program(authorization):
                return say("this is not the token of FACEBLUR_WEB_TOKEN", 401)
            state["owner"], state["is_page"] = self._access.programs, False
            self._access.shown_by(scope["client"])
            return None
        session = self._access.session_of(HTTPConnection(scope))
        if session is None:
            return say("open the address that faceblur web has printed, or send the token", 401)
        is_safe = scope["method"] in _SAFE
        # Who knows the number of a file was told it by the page; images have no header to show.
        if not (is_safe and path.startswith(_OF_A_FILE)):
            given = headers.get(CSRF_HEADER, "")
            if is_safe and not given:
                given = QueryParams(scope["query_string"]).get(_QUERY, "")
            if not hmac.compare_digest(given.encode(), self._access.csrf(session).encode()):
                return say("the request does not come from the page")
        state["owner"], state["is_page"] = session, True
        self._access.shown_by(scope["client"])
        return None


def _refused(reason: str, code: int = 403) -> Response:
    response = refused(code, f"refused: {reason}")
    if code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _refused_page(reason: str, code: int = 403) -> Response:
    return PlainTextResponse(f"refused: {reason}\n", status_code=code)
