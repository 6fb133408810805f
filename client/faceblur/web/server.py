"""Serve the page until somebody ends it, and leave nothing behind."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import uvicorn

from faceblur.batch.private_folder import PrivateFolder
from faceblur.web.access import Access
from faceblur.web.api import Api
from faceblur.web.cameras.wall import Wall
from faceblur.web.cameras.webcam_routes import Webcams
from faceblur.web.jobs.detectors import Detectors
from faceblur.web.jobs.fair_queue import FairQueue
from faceblur.web.jobs.store import JobStore
from faceblur.web.jobs.worker import Workers
from faceblur.web.listening import configured, listen
from faceblur.web.names import LOOPBACK, WILDCARDS, Names, shown
from faceblur.web.options import WebOptions
from faceblur.web.webhooks import Webhooks

if TYPE_CHECKING:
    # Needs a library that is not needed on this machine alone.
    from faceblur.web.certificate import Certificate

logger = logging.getLogger(__name__)

_SWEEP_S: Final = 1.0


def serve(
    options: WebOptions,
    *,
    on_listening: Callable[[str], None],
    on_certificate: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the page; blocks, in the main thread, until the process is interrupted.

    Args:
        options: How.
        on_listening: Called with the address once the page answers there. It holds the token,
            which works once.
        on_certificate: Called before, with the SHA-256 fingerprint of a certificate that nobody
            else vouches for, if there is one.

    Raises:
        OutputError: It cannot listen there, or has no place for uploads.
        InputError: The certificate cannot be used.
    """
    with listen(options.host, options.port) as listener, PrivateFolder() as folder:
        certificate = _certificate(options, folder.path)
        if certificate is not None and certificate.is_own:
            on_certificate(certificate.fingerprint)
        port = listener.getsockname()[1]
        names = _names(options.host, port, certificate)
        access = Access(
            names=names,
            bearer=options.token,
            on_shown=listener.keep,
            is_trusted=certificate is not None and not certificate.is_own,
        )
        queue = FairQueue(options.workers)
        store = JobStore(folder.path, options, queue)
        with (
            Detectors(options.session, size=options.policy.detection.size) as detectors,
            Webcams(detectors, options.policy) as webcams,
            Webhooks(options.receivers) as webhooks,
            Wall(options.cameras, options.policy) if options.cameras else nullcontext() as wall,
        ):
            store.on_settled = webhooks.tell
            api = Api(store, detectors, options, webcams=webcams, wall=wall, access=access)
            place = names.origin(f"{shown(_place(options.host, certificate))}:{port}")
            server = _Server(api, f"{place}/?token={access.token}", certificate)
            server.on_listening = on_listening
            workers = Workers(store, detectors, options.policy, count=options.workers)
            ended = threading.Event()
            sweeper = threading.Thread(
                target=_sweep,
                args=(store, webcams, wall, ended),
                name="faceblur-web-sweep",
                daemon=True,
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

    def __init__(self, api: Api, address: str, certificate: Certificate | None) -> None:
        super().__init__(configured(api.app, certificate))
        self._api = api
        self._address = address
        self.on_listening: Callable[[str], None] = lambda _: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_listening(self._address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._api.stopping = True
        super().handle_exit(sig, frame)


def _sweep(store: JobStore, webcams: Webcams, wall: Wall | None, ended: threading.Event) -> None:
    sweeps = [store.sweep, webcams.sweep, *([] if wall is None else [wall.trials.sweep])]
    while not ended.wait(_SWEEP_S):
        for sweep in sweeps:
            try:
                sweep()
            except Exception:
                # What is to go must go, whatever has happened to something else.
                logger.exception("cannot sweep up")


def _certificate(options: WebOptions, folder: Path) -> Certificate | None:
    if options.tls is None:
        return None
    from faceblur.web import certificate

    if options.tls.certificate is None:
        return certificate.make(folder, options.host)
    return certificate.read(options.tls.certificate, options.tls.key or options.tls.certificate)


def _names(host: str, port: int, certificate: Certificate | None) -> Names:
    if certificate is None:
        return Names(scheme="http", port=port)
    everywhere = host in WILDCARDS
    hosts = {host.lower(), *certificate.names}
    if everywhere or host in LOOPBACK:
        hosts |= LOOPBACK
    return Names(scheme="https", port=port, hosts=frozenset(hosts), any_address=everywhere)


def _place(host: str, certificate: Certificate | None) -> str:
    """What stands in the address that is shown."""
    if certificate is None or host not in WILDCARDS:
        return host
    return next((name for name in certificate.names if not name.startswith("*")), host)
