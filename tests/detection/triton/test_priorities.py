"""Cameras before files, on a server that both use."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from faceblur.detection.letterbox import Letterbox
from faceblur.detection.session import SessionOptions, open_session
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection, Priority

FILES = 24


@pytest.fixture
def canvas(portrait: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return Letterbox.plan(512, 512).apply(portrait[:, :, ::-1])


@pytest.mark.parametrize(
    ("camera", "is_first"), [("live", True), ("batch", False)], ids=["a camera", "for comparison"]
)
def test_a_cameras_frame_overtakes_those_of_files(
    camera: Priority, is_first: bool, bundled_server: str, canvas: npt.NDArray[np.uint8]
) -> None:
    answered: list[str] = []

    def note(name: str, future: Future[Any]) -> None:
        future.add_done_callback(lambda _: answered.append(name))

    with ExitStack() as stack:
        clients = []
        for priority in ("batch", camera):
            options = {"deadline_s": 30.0, "transport": "raw", "is_shared": True}
            client = TritonDetector(
                Connection(address=bundled_server, priority=priority, **options)
            )
            stack.callback(client.close)
            clients.append(client)
        files, live = clients
        waiting = files.submit([canvas] * FILES, min_score=0.5)
        for future in waiting:
            note("file", future)
        waiting[0].result(30)
        (urgent,) = live.submit([canvas], min_score=0.5)
        note("camera", urgent)
        assert all(len(future.result(30)) == 1 for future in [*waiting, urgent])
    # What runs by then, and what waits in front of each instance, is not overtaken.
    assert (answered.index("camera") < FILES / 2) is is_first


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
                assert len(future.result(10)) == 1
        finally:
            detector.close()
        assert sent == sizes
