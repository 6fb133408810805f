"""The addresses beneath the page, without anybody who works: what comes waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import uvicorn

from faceblur.detection.session import SessionOptions
from faceblur.detections import MediaDetections
from faceblur.web.access import Access
from faceblur.web.api import Api
from faceblur.web.detectors import Detectors
from faceblur.web.fair_queue import FairQueue
from faceblur.web.jobs import WebJob
from faceblur.web.names import Names
from faceblur.web.options import WebOptions
from faceblur.web.results import Result, Verdict
from faceblur.web.store import JobStore
from faceblur.web.webcam_routes import Webcams
from faceblur.web.webhooks import Webhooks

TOKEN = "t" * 20 + "-._~+/12345="


@dataclass(frozen=True)
class Programs:
    """A server that programs ask."""

    base: str
    api: Api
    store: JobStore
    owner: str

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask with the token, or with other headers."""
        headers = {"Authorization": f"Bearer {TOKEN}"} | options.pop("headers", {})
        kept = {name: value for name, value in headers.items() if value is not None}
        return requests.request(
            method, self.base + path, headers=kept, timeout=20, allow_redirects=False, **options
        )

    def send(
        self,
        photo: bytes,
        *,
        name: str = "a.jpg",
        key: str | None = None,
        webhook: str | None = None,
    ) -> requests.Response:
        """Send a file."""
        headers = {"Idempotency-Key": key}
        said = {"name": name, "webhook": webhook}
        return self.ask("POST", "/api/jobs", params=said, data=photo, headers=headers)

    def finish(self, number: str, result: bytes = b"masked") -> WebJob:
        """End a file that waits, as one of the workers would."""
        job = self.store.find(self.owner, number)
        assert job is not None
        assert self.store.queue.withdraw(job)
        output = job.folder / "masked.jpg"
        output.write_bytes(result)
        verdict = Verdict(result="clean")
        report = MediaDetections(output, 512, 512, [])
        job.results.add(
            Result(number=1, output=output, faces=1, frames=1, verdict=verdict, report=report)
        )
        self.store.settle(job, None)
        return job


@contextmanager
def programs(
    folder: Path, options: WebOptions, *, retries_s: tuple[float, ...] = ()
) -> Iterator[Programs]:
    """Serve the addresses in this process."""
    store = JobStore(folder, options, FairQueue(options.workers))
    detectors = Detectors(SessionOptions(server="127.0.0.1:9"), size=640)
    config = uvicorn.Config("", log_config=None, lifespan="off", ws="none", port=0)
    listener = config.bind_socket()
    port = listener.getsockname()[1]
    access = Access(names=Names(scheme="http", port=port), bearer=options.token)
    webcams = Webcams(detectors, options.policy)
    api = Api(store, detectors, options, webcams=webcams, access=access)
    config.app = api.app
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    webhooks = Webhooks(options.receivers, retries_s=retries_s)
    store.on_settled = webhooks.tell
    try:
        while not server.started:
            time.sleep(0.01)
        with webcams, webhooks:
            yield Programs(f"http://127.0.0.1:{port}", api, store, access.programs)
    finally:
        api.stopping = server.should_exit = True
        thread.join(20)
        store.close()
        listener.close()
