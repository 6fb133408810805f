"""A proxy in the environment is for the world; nothing on this machine goes through it."""

from __future__ import annotations

import http.server
import io
import os
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import pytest
from addresses import unanswered
from click.testing import CliRunner
from PIL import Image

from faceblur.cli import main
from faceblur.detection import canary, models
from faceblur.detection.session import DetectionSession
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.loopback import hosts_of, is_loopback, keep_proxies_away, open_url
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import ServerStartError, ServerUnavailableError

VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A proxy for everything, at which nobody answers."""
    with unanswered() as address:
        for name in VARIABLES:
            monkeypatch.setenv(name, f"http://{address}")
        for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
            monkeypatch.setenv(name, "example.org")
            monkeypatch.delenv(name)
        yield f"http://{address}"


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine: a status page, and an image as a camera would send it."""
    (tmp_path / "status").write_text('{"cameras": [], "uptime_s": 1}')
    image = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(image, "JPEG")
    (tmp_path / "stream.mjpeg").write_bytes(image.getvalue() * 3)
    handler = partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_an_embedded_server_starts_and_is_reached(official: str) -> None:
    onnx, model = models.find(official)
    options = ServerOptions(onnx=onnx, model=model, jpeg=False, warm_up=False)
    with TritonServer(options) as server:
        port = server.address.rpartition(":")[2]
        for address in (server.address, f"localhost:{port}", f"ipv4:{server.address}"):
            detector = TritonDetector(Connection(address=address, deadline_s=30))
            canary.check(detector, deadline_s=30)
            detector.close()


def test_the_status_page_and_local_streams_are_read_directly(
    pages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = CliRunner().invoke(main, ["status", "--json", "--address", pages])
    assert read.exit_code == 0, read.output
    with open_url(urllib.request.Request(f"http://{pages}/status"), timeout_s=30) as reply:
        assert reply.status == 200
    # FFmpeg reads the environment, which the command has seen to.
    with av.open(f"http://{pages}/stream.mjpeg") as stream:
        assert sum(1 for _ in stream.decode(video=0)) == 3
    monkeypatch.setenv("no_proxy", "example.org,10.0.0.1")
    keep_proxies_away()
    assert os.environ["no_proxy"] == "example.org,10.0.0.1,localhost,127.0.0.1,::1"


def test_a_proxy_on_the_way_to_another_machine_is_named() -> None:
    with pytest.raises(ServerUnavailableError, match=r"the proxy of \$grpc_proxy.*in \$no_proxy"):
        TritonDetector(Connection(address="192.0.2.7:8001", deadline_s=30))


def test_the_log_is_quoted_only_where_it_tells_why(
    official: str, session: DetectionSession, tmp_path: Path
) -> None:
    """Every log of a server without a GPU has errors about CUDA, which do not matter."""
    assert session.server is not None
    assert "CUDA" in session.server.log

    onnx, model = models.find(official)
    options = ServerOptions(onnx=onnx, model=model, jpeg=False, warm_up=False)
    with unanswered() as nowhere:

        class Unreachable(TritonServer):
            address = nowhere

        for timeout_s in (2, 20, 60):
            with pytest.raises(ServerStartError) as unreached:
                Unreachable(replace(options, start_timeout_s=timeout_s)).start()
            # A busy machine may need longer to load the model, before it is found that nobody
            # answers.
            if "does not answer at" in str(unreached.value):
                break
    assert "does not answer at" in str(unreached.value)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ServerStartError, match=r"did not start: .*yolov5_face") as refused:
        TritonServer(ServerOptions(onnx=broken, model=model)).start()
    assert "CUDA" not in f"{unreached.value} {refused.value}"


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("localhost:8001", True),
        ("127.3.2.1:8001", True),
        ("[::1]:8001", True),
        ("dns:///localhost:8001", True),
        ("ipv4:127.0.0.1:8001,127.0.0.1:8002", True),
        ("ipv4:127.0.0.1:8001,10.0.0.1:8002", False),
        ("triton:8001", False),
        ("localhost.example.org:1", False),
    ],
)
def test_loopback_is_told_from_the_rest(address: str, local: bool) -> None:
    assert all(is_loopback(host) for host in hosts_of(address)) is local
