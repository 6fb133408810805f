"""Serve the page until somebody ends it, and leave nothing behind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn

from faceblur.errors import OutputError
from faceblur.web.access import Access
from faceblur.web.api import Api
from faceblur.web.detectors import Detectors
from faceblur.web.fair_queue import FairQueue
from faceblur.web.folder import PrivateFolder
from faceblur.web.names import Names, shown
from faceblur.web.options import WebOptions
from faceblur.web.store import JobStore
from faceblur.web.webcam_routes import Webcams
from faceblur.web.worker import Workers

_SWEEP_S: Final = 1.0
_GRACE_S: Final = 2


def serve(options: WebOptions, *, on_listening: Callable[[str], None]) -> None:
    """Serve the page; blocks, in the main thread, until the process is interrupted.

    Args:
        options: How.
        on_listening: Called with the address once the page answers there. It holds the token,
            which works once.

    Raises:
        OutputError: It cannot listen there, or has no place for uploads.
    """
    with _listen(options.host, options.port) as listener, PrivateFolder() as folder:
        port = listener.getsockname()[1]
        access = Access(names=Names(scheme="http", port=port), bearer=options.token)
        queue = FairQueue(options.workers)
        store = JobStore(folder.path, options, queue)
        with (
            Detectors(options.session, size=options.policy.detection.size) as detectors,
            Webcams(detectors, options.policy) as webcams,
        ):
            api = Api(store, detectors, options, webcams=webcams, access=access)
            server = _Server(api, f"http://{shown(options.host)}:{port}/?token={access.token}")
            server.on_listening = on_listening
            workers = Workers(store, detectors, options.policy, count=options.workers)
            ended = threading.Event()
            sweeper = threading.Thread(
                target=_sweep, args=(store, webcams, ended), name="faceblur-web-sweep", daemon=True
            )
            try:
                with workers:
                    sweeper.start()
                    try:
                        server.run(sockets=[listener])
                    finally:
                        # Before the workers are waited for: they stop at their next frame.
                        store.close()
            finally:
                ended.set()


class _Server(uvicorn.Server):
    """Says when it answers, and lets pages that listen go when it ends."""

    def __init__(self, api: Api, address: str) -> None:
        super().__init__(
            uvicorn.Config(
                api.app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                date_header=False,
                ws="none",
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._api = api
        self._address = address
        self.on_listening: Callable[[str], None] = lambda _: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_listening(self._address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._api.stopping = True
        super().handle_exit(sig, frame)


def _sweep(store: JobStore, webcams: Webcams, ended: threading.Event) -> None:
    while not ended.wait(_SWEEP_S):
        store.sweep()
        webcams.sweep()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OutputError(
            f"cannot listen at {shown(host)}:{port}: {error.strerror}; give another --port, or "
            "leave it out"
        ) from error
    return listener
