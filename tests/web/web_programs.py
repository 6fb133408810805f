"""The addresses beneath the page, asked in this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import uvicorn
from waiting import until

from faceblur.web.access import Access
from faceblur.web.api import Api
from faceblur.web.cameras.webcam_routes import Webcams
from faceblur.web.jobs.detectors import Detectors
from faceblur.web.jobs.fair_queue import FairQueue
from faceblur.web.jobs.store import JobStore
from faceblur.web.jobs.worker import Workers
from faceblur.web.listening import configured, listen
from faceblur.web.names import Names
from faceblur.web.options import WebOptions
from faceblur.web.webhooks import Webhooks

TOKEN = "t" * 20 + "-._~+/12345="


@dataclass(frozen=True)
class Programs:
    """A server that programs ask."""

    base: str
    api: Api
    store: JobStore
    access: Access
    server: uvicorn.Server

    @property
    def owner(self) -> str:
        """Whose the files of programs are."""
        return self.access.programs

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask with the token, or with other headers."""
        headers = {"Authorization": f"Bearer {TOKEN}"} | options.pop("headers", {})
        kept = {name: value for name, value in headers.items() if value is not None}
        return requests.request(
            method, self.base + path, headers=kept, timeout=60, allow_redirects=False, **options
        )

    def send(
        self,
        photo: bytes,
        *,
        name: str = "a.jpg",
        key: str | None = None,
        edits: str | None = None,
        webhook: str | None = None,
    ) -> requests.Response:
        """Send a file."""
        headers = {"Idempotency-Key": key}
        said = {"name": name, "edits": edits, "webhook": webhook}
        return self.ask("POST", "/api/jobs", params=said, data=photo, headers=headers)

    @contextmanager
    def begun(self, path: str, length: int, *more: str) -> Iterator[socket.socket]:
        """Connect and send a request but for its body, which somebody waits for then.

        Args:
            length: Of the body, bytes.
            more: Lines of the head.
        """
        host = self.base.partition("://")[2]
        with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2]))) as sender:
            sender.settimeout(60)
            lines = (
                f"POST {path} HTTP/1.1",
                f"Host: {host}",
                f"Authorization: Bearer {TOKEN}",
                f"Content-Length: {length}",
                "Expect: 100-continue",
                *more,
            )
            sender.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            assert b"100 Continue" in sender.recv(1000)
            yield sender

    def finish(self, number: str, sentence: str = "it is damaged") -> None:
        """End a file that waits, as one of the workers would that cannot read it."""
        job = self.store.find(self.owner, number)
        assert job is not None
        assert self.store.queue.withdraw(job)
        self.store.settle(job, sentence)


@contextmanager
def programs(
    folder: Path,
    options: WebOptions,
    *,
    retries_s: tuple[float, ...] = (),
    works: bool = False,
) -> Iterator[Programs]:
    """Serve the addresses in this process; unless somebody works, what comes waits."""
    store = JobStore(folder, options, FairQueue(options.workers))
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    names = Names(scheme="http", port=port)
    access = Access(names=names, bearer=options.token, on_shown=listener.keep)
    with ExitStack() as running:
        detectors = running.enter_context(Detectors(options.session, size=640))
        webcams = running.enter_context(Webcams(detectors, options.policy))
        webhooks = running.enter_context(Webhooks(options.receivers, retries_s=retries_s))
        store.on_settled = webhooks.tell
        api = Api(store, detectors, options, webcams=webcams, wall=None, access=access)
        server = uvicorn.Server(configured(api.app))
        if works:
            running.enter_context(Workers(store, detectors, options.policy, count=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started, "the server starts")
            yield Programs(f"http://127.0.0.1:{port}", api, store, access, server)
        finally:
            api.stopping = server.should_exit = True
            thread.join(60)
            store.close()
            listener.close()
            assert not thread.is_alive(), "the server does not end"
