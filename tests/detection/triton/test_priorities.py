"""Cameras before files, on a server that both use."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt
import pytest
from waiting import until

from faceblur.detection import models
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.session import SessionOptions, open_session
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection, Priority
from faceblur.detection.triton.loopback import open_url
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from rig.ports import free_port

FILES = 24
AHEAD = 2
"""Large images, which keep both instances busy for a while."""


@pytest.fixture(scope="module")
def server() -> Iterator[TritonServer]:
    """One of two instances that tells how much waits in its queue."""
    onnx, model = models.find("fast")
    options = ServerOptions(
        onnx=onnx, model=model, instances=2, threads=1, jpeg=False, warm_up=False,
        metrics_port=free_port(),
    )  # fmt: skip
    with TritonServer(options) as started:
        yield started


def _waiting(server: TritonServer) -> int:
    address = f"http://127.0.0.1:{server.options.metrics_port}/metrics"
    with open_url(urllib.request.Request(address), timeout_s=60) as reply:
        text = reply.read().decode()
    found = re.search(r'nv_inference_pending_request_count{model="yolov5_face".*} (\d+)', text)
    assert found is not None, text
    return int(found[1])


@pytest.fixture
def canvas(portrait: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return Letterbox.plan(512, 512, size=320).apply(portrait[:, :, ::-1])


@pytest.mark.parametrize(
    ("camera", "is_first"), [("live", True), ("batch", False)], ids=["a camera", "for comparison"]
)
def test_a_cameras_frame_overtakes_those_of_files(
    camera: Priority, is_first: bool, server: TritonServer, canvas: npt.NDArray[np.uint8]
) -> None:
    with ExitStack() as stack:
        clients = []
        for priority in ("batch", camera):
            options = {"deadline_s": 60.0, "transport": "raw", "is_shared": True}
            client = TritonDetector(
                Connection(address=server.address, priority=priority, **options)
            )
            stack.callback(client.close)
            clients.append(client)
        rounds: list[list[str]] = []

        def is_judged() -> bool:
            rounds.append(_order(server, *clients, canvas))
            return bool(rounds[-1])

        until(is_judged, "a camera's frame reaches the queue before one of a file leaves it")
    # What runs by then, and what waits in front of each instance, is not overtaken.
    assert (rounds[-1].index("camera") < FILES / 2) is is_first


def _order(
    server: TritonServer,
    files: TritonDetector,
    live: TritonDetector,
    canvas: npt.NDArray[np.uint8],
) -> list[str]:
    """How a full queue and a camera's frame were answered; nothing if it came too late to tell."""
    answered: list[str] = []
    large = files.submit([np.zeros((1600, 1600, 3), np.uint8)] * AHEAD, min_score=0.5)
    waiting = files.submit([canvas] * FILES, min_score=0.5)
    for future in waiting:
        future.add_done_callback(lambda _: answered.append("file"))
    until(lambda: bool(answered) or _waiting(server) >= FILES, "the files wait in the queue")
    (urgent,) = live.submit([canvas], min_score=0.5)
    urgent.add_done_callback(lambda _: answered.append("camera"))
    until(lambda: bool(answered) or _waiting(server) > FILES, "the camera's frame waits there too")
    came_in_time = not answered
    wait([*large, *waiting, urgent])
    # What has waited for seconds, on a busy machine, is refused.
    is_whole = not any(future.exception() for future in [*waiting, urgent])
    if not (came_in_time and is_whole):
        return []
    assert all(len(future.result()) == 1 for future in [*waiting, urgent])
    return answered


def test_a_session_says_what_it_is_for(
    bundled_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Connection] = []
    real = TritonDetector.__init__

    def noting(self: TritonDetector, connection: Connection) -> None:
        asked.append(connection)
        real(self, connection)

    monkeypatch.setattr(TritonDetector, "__init__", noting)
    for media in ("camera", "video", "image"):
        open_session(SessionOptions(server=bundled_server), media=media).close()
    assert [(each.priority, each.is_shared) for each in asked] == [
        ("live", True), ("batch", True), ("batch", True)
    ]  # fmt: skip


def test_files_on_a_shared_server_go_one_by_one(
    bundled_server: str, canvas: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    for is_shared, sizes in ((True, [1, 1, 1]), (False, [3])):
        detector = TritonDetector(
            Connection(address=bundled_server, transport="raw", is_shared=is_shared)
        )
        sent: list[int] = []
        real = detector._submit
        monkeypatch.setattr(
            detector,
            "_submit",
            lambda way, canvases, score, real=real, sent=sent: (
                sent.append(len(canvases)) or real(way, canvases, score)
            ),
        )
        try:
            for future in detector.submit([canvas] * 3, min_score=0.5):
                assert len(future.result(60)) == 1
        finally:
            detector.close()
        assert sent == sizes
