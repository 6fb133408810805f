"""HTTP at an address of either family, answered from threads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from faceblur.errors import OutputError
from faceblur.live.addresses import split_address


class Handler(BaseHTTPRequestHandler):
    """Answers one request, says nothing of this machine, and gives up on who is silent."""

    timeout = 10.0
    server_version = "faceblur"
    sys_version = ""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: who asks is private."""


def serve(
    listen: str, handler: Callable[..., BaseHTTPRequestHandler], *, advice: str
) -> ThreadingHTTPServer:
    """Begin to answer at HOST:PORT, port 0 being a free one; `shutdown` and `server_close` end it.

    The advice is what to do where the address is taken.

    Raises:
        InputError: That is no address.
        OutputError: It cannot listen there.
    """
    host, port = split_address(listen)

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        server = Server((host, port), handler)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot listen at {listen}: {reason}; {advice}") from error
    threading.Thread(target=server.serve_forever, name="faceblur-http", daemon=True).start()
    return server
