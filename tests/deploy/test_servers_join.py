"""Servers as the chart starts them: one that joins gets its share, and no frame is lost."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpcclient
from name_server import name_server
from rendered_chart import of_kind, render
from tritonclient.utils import InferenceServerException
from waiting import until
from wheel_server import SHM_PREFIX, Machine

from faceblur.detection import models
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.trace_context import requests_of
from faceblur.detection.triton.channel import SEVERAL_OPTIONS
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.runtime import TritonRuntime, stage_repository
from faceblur.detection.triton.shared_memory import SHM_FOLDER
from faceblur.detections import Detections
from rig.ports import free_port

HOSTS = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
DEADLINE_S = 30.0
AGE_S = 1
"""In place of the chart's 30 s."""


class Servers:
    """Three that serve the same model at the same port of three addresses."""

    def __init__(self, folder: Path, collector: str) -> None:
        self._collector = collector
        runtime = TritonRuntime.find()
        runtime.lay_out_backends(folder / "backends")
        onnx, model = models.find("fast")
        stage_repository(
            folder / "models", onnx=onnx, model=model, instances=2, threads=1, jpeg=False,
            warm_up=False,
        )  # fmt: skip
        self.port = free_port()
        machine = Machine(folder, runtime)
        self._processes = [self._start(machine, host) for host in HOSTS]
        self.clients = [grpcclient.InferenceServerClient(f"{h}:{self.port}") for h in HOSTS]

    def _start(self, machine: Machine, host: str) -> subprocess.Popen[str]:
        values = {
            "triton": {"connectionAgeSeconds": 5, "connectionGraceSeconds": 10},
            "tracing": {"endpoint": self._collector},
        }
        pod = of_kind(render(values), "Deployment")["spec"]["template"]["spec"]
        words = [word.replace("$$(", "$(") for word in pod["containers"][0]["command"]]
        here = {
            "--grpc-address=0.0.0.0": f"--grpc-address={host}",
            "--metrics-address=0.0.0.0": f"--metrics-address={host}",
            "--grpc-max-connection-age=5000": f"--grpc-max-connection-age={AGE_S}000",
        }
        assert set(here) <= set(words)
        service: dict[str, Any] = {"command": [here.get(word, word) for word in words]}
        ports = (self.port, free_port())
        environment = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
        options = environment["TRITON_OPTIONS"]
        options += " --trace-config=opentelemetry,bsp_schedule_delay=100"
        return machine.start(
            machine.words(service, ports), f"--model-config-name=embedded {options}"
        )

    def wait(self) -> None:
        """Until all have their model."""
        for client in self.clients:
            until(lambda client=client: _is_ready(client), "all have their model")  # type: ignore[misc]

    def counts(self) -> list[int]:
        """How many inferences each has done."""
        found = []
        for client in self.clients:
            statistics = client.get_inference_statistics("yolov5_face").model_stats[0]
            found.append(int(statistics.inference_stats.success.count))
        return found

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        for process in self._processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for region in SHM_FOLDER.glob(f"{SHM_PREFIX}_{os.getpid()}_*"):
            region.unlink()


def _is_ready(client: grpcclient.InferenceServerClient) -> bool:
    try:
        return bool(client.is_model_ready("face_detection", client_timeout=10.0))
    except InferenceServerException:
        return False


class Collector(BaseHTTPRequestHandler):
    """Takes traces by OTLP, and keeps the ids and names of their spans."""

    spans: ClassVar[set[tuple[str, str]]] = set()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            # The protocol's JSON, which that Triton speaks.
            for resource in json.loads(body)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    self.spans.update((span["traceId"], span["name"]) for span in scope["spans"])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def collector() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def servers(tmp_path: Path, collector: str) -> Iterator[Servers]:
    started = Servers(tmp_path, collector)
    try:
        started.wait()
        yield started
    finally:
        started.stop()


def test_a_third_server_gets_its_share(
    servers: Servers, portrait: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    canvas = Letterbox.plan(512, 512, size=320).apply(portrait[:, :, ::-1])
    under_way: deque[Future[Detections]] = deque()
    with name_server(*HOSTS[:2]) as names:
        address = f"dns://127.0.0.1:{names.port}/faceblur-triton:{servers.port}"
        detector = TritonDetector(
            Connection(address=address, deadline_s=DEADLINE_S, transport="raw")
        )

        def send(frames: int) -> list[int]:
            """Each must be answered, with its face; what each server did of them."""
            before = servers.counts()
            for _ in range(frames):
                under_way.append(detector.submit([canvas], min_score=0.4)[0])
                if len(under_way) == 4:
                    assert len(under_way.popleft().result(DEADLINE_S)) == 1
            return [after - b for after, b in zip(servers.counts(), before, strict=True)]

        try:
            # As soon as a connection to each is made; they are made again now and then.
            until(lambda: min(send(30)[:2]) > 8, "both get their share")
            assert servers.counts()[2] == 0
            names.addresses = HOSTS
            joined_s = time.monotonic()
            until(lambda: send(6)[2] > 0, "the third is asked")
            # With 30 s in place of AGE_S, and gRPC's tenth of it on top, that is under a minute;
            # where gRPC looked names up as often as it does by itself, it would be 30 s and more.
            lookups_s = dict(SEVERAL_OPTIONS)["grpc.dns_min_time_between_resolutions_ms"] / 1000
            assert lookups_s == 5
            assert time.monotonic() - joined_s < 1.1 * AGE_S + lookups_s + 20
            until(lambda: min(send(30)) > 4, "all three get their share")
            # One that belongs to a trace goes on in the server's part of it.
            trace = secrets.token_hex(16)

            def is_traced() -> bool:
                with requests_of(f"00-{trace}-{secrets.token_hex(8)}-01"):
                    send(1)
                return (trace, "yolov5_face") in Collector.spans

            until(is_traced, "a span of the trace")
            assert {found for found, _ in Collector.spans} == {trace}, "no other is traced"
        finally:
            detector.close()
