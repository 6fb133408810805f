"""What the client of a real Triton server finds, and what it refuses."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpcclient
from addresses import unanswered
from tritonclient.utils import InferenceServerException

from faceblur.detection import models
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.detection.triton import client as client_module
from faceblur.detection.triton.client import DETECTOR, ENSEMBLE, TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import ServerError, ServerUnavailableError
from rig.faulty_servers import TcpProxy

GOLDENS = ("crowd", "street", "masks")


@pytest.fixture(scope="module")
def chained(official: str) -> Iterator[TritonServer]:
    """A server whose ensemble has a model of its own for post-processing, as on a GPU."""
    onnx, model = models.find(official)
    with TritonServer(ServerOptions(onnx=onnx, model=model, chained=True)) as server:
        yield server


@pytest.fixture(params=["shm", "raw", "two models"])
def detector(
    request: pytest.FixtureRequest, session: DetectionSession, chained: TritonServer
) -> Iterator[TritonDetector]:
    assert session.server is not None
    server = chained if request.param == "two models" else session.server
    transport = "shm" if request.param == "shm" else "raw"
    opened = TritonDetector(Connection(address=server.address, transport=transport))
    assert opened.transport == transport
    yield opened
    opened.close()


def _golden(shared: Path, name: str) -> npt.NDArray[np.uint8]:
    image = cv2.imread(str(shared / "golden" / f"{name}.png"))
    return np.ascontiguousarray(image[:, :, ::-1])


@pytest.mark.parametrize("name", GOLDENS)
@pytest.mark.parametrize("threshold", [0.02, 0.3])
def test_it_finds_what_the_reference_finds(
    detector: TritonDetector, shared: Path, name: str, threshold: float
) -> None:
    faces = detector.submit([_golden(shared, name)], min_score=threshold)[0].result(30)
    expected = np.load(shared / "golden" / f"{name}.npz")[f"nms_conf{threshold:g}"]
    # A score within 0.005 of the threshold may fall on either side of it.
    certain = expected[expected[:, 4] > threshold + 0.005]
    distance = np.abs(faces.boxes[:, None] - certain[None, :, :4]).max(axis=2)
    nearest = distance.argmin(axis=0)
    assert len(set(nearest)) == len(certain)
    assert distance.min(axis=0).max() <= 0.5
    np.testing.assert_allclose(faces.scores[nearest], certain[:, 4], atol=0.005)
    np.testing.assert_allclose(faces.landmarks[nearest].reshape(-1, 10), certain[:, 5:15], atol=0.5)
    extra = np.delete(faces.scores, nearest)
    assert (extra <= threshold + 0.005).all()


def test_many_frames_in_flight_come_back_to_their_own_request(
    detector: TritonDetector, portrait: npt.NDArray[np.uint8]
) -> None:
    empty = np.full((384, 640, 3), 114, np.uint8)
    canvas = Letterbox.plan(512, 512, size=640).apply(portrait[:, :, ::-1])
    futures = [detector.submit([canvas if i % 3 else empty], min_score=0.5)[0] for i in range(24)]
    counts = [len(future.result(30)) for future in futures]
    assert counts == [1 if i % 3 else 0 for i in range(24)]


def test_images_of_one_request_are_answered_each_for_itself(
    detector: TritonDetector, shared: Path
) -> None:
    crowd = _golden(shared, "crowd")
    # More of them than the server takes at once.
    images = [crowd, np.ascontiguousarray(crowd[:, ::-1]), np.zeros_like(crowd)] * 3
    alone = [detector.submit([image], min_score=0.3)[0] for image in images]
    together = detector.submit(images, min_score=0.3)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other.result(30).rows(), one.result(30).rows(), atol=1e-3)


def test_a_request_fails_for_all_of_its_images(detector: TritonDetector) -> None:
    futures = detector.submit([np.zeros((100, 640, 3), np.uint8)] * 3, min_score=0.3)
    # Giving one up takes no answer from another.
    futures[0].cancel()
    for future in futures[1:]:
        with pytest.raises(ServerError, match="multiples of 32"):
            future.result(30)


def test_images_of_several_shapes_are_no_request(detector: TritonDetector) -> None:
    images = [np.zeros((height, 640, 3), np.uint8) for height in (384, 480)]
    with pytest.raises(ValueError, match="shapes"):
        detector.submit(images, min_score=0.3)


def test_every_request_has_its_own_threshold(detector: TritonDetector, shared: Path) -> None:
    image = _golden(shared, "crowd")
    futures = {score: detector.submit([image], min_score=score)[0] for score in (0.05, 0.3, 0.6)}
    counts = {score: len(future.result(30)) for score, future in futures.items()}
    assert counts[0.05] > counts[0.3] > counts[0.6] > 0
    for score, future in futures.items():
        assert future.result().scores.min() > score


@pytest.mark.parametrize(
    ("canvas", "min_score", "reason"),
    [
        (np.zeros((100, 640, 3), np.uint8), 0.3, "multiples of 32"),
        (np.zeros((384, 640, 3), np.uint8), 1.5, "between 0 and 1"),
        (np.zeros((384, 640, 3), np.uint8), float("nan"), "between 0 and 1"),
        (np.zeros((384, 640, 4), np.uint8), 0.3, "shape"),
    ],
)
def test_a_bad_request_fails_alone(
    detector: TritonDetector,
    shared: Path,
    canvas: npt.NDArray[np.uint8],
    min_score: float,
    reason: str,
) -> None:
    good = _golden(shared, "masks")
    before = [detector.submit([good], min_score=0.3)[0] for _ in range(3)]
    bad = detector.submit([canvas], min_score=min_score)[0]
    after = [detector.submit([good], min_score=0.3)[0] for _ in range(3)]
    with pytest.raises(ServerError, match=reason):
        bad.result(30)
    assert len({len(future.result(30)) for future in before + after}) == 1


def test_the_server_and_this_process_find_the_same(
    detector: TritonDetector, official: str, shared: Path
) -> None:
    local = InProcessDetector(models.find(official)[0])
    try:
        for name in GOLDENS:
            image = _golden(shared, name)
            here = local.submit([image], min_score=0.05)[0].result(30)
            there = detector.submit([image], min_score=0.05)[0].result(30)
            np.testing.assert_allclose(here.rows(), there.rows(), atol=1e-3)
    finally:
        local.close()


def test_the_client_learns_which_model_answers(detector: TritonDetector, official: str) -> None:
    assert detector.model == models.find(official)[1]


def test_far_less_than_the_full_head_is_moved(session: DetectionSession) -> None:
    assert session.server is not None
    with grpcclient.InferenceServerClient(session.server.address) as client:
        config = client.get_model_config("yolov5_face", client_timeout=60).config
    moved = sum(4 * int(np.prod(list(output.dims))) for output in config.output)
    full = 4 * 16 * 25_200
    assert moved < full / 6


def test_no_server_is_a_clear_error() -> None:
    with (
        unanswered() as address,
        pytest.raises(ServerUnavailableError, match="faceblur serve"),
    ):
        TritonDetector(Connection(address=address, deadline_s=30))


class Busy(TcpProxy):
    """The system takes its connections; it does so itself later."""

    def __init__(self, address: str) -> None:
        self.has_time = threading.Event()
        super().__init__(address)

    def _accept(self, listener: socket.socket) -> None:
        self.has_time.wait(60)
        super()._accept(listener)


def test_a_server_that_is_too_busy_to_greet_at_once_is_waited_for(
    session: DetectionSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.server is not None
    between = Busy(session.server.address)
    given_up: list[bool] = []
    is_slow = client_module.is_greeting_slow

    def find_time(error: InferenceServerException) -> bool:
        between.has_time.set()
        given_up.append(is_slow(error))
        return given_up[-1]

    monkeypatch.setattr(client_module, "is_greeting_slow", find_time)
    begun_s = time.monotonic()
    try:
        connection = Connection(address=between.address, deadline_s=60, transport="raw")
        TritonDetector(connection).close()
    finally:
        between.cut()
    # gRPC's own second was over, and the connection stood.
    assert set(given_up) == {True}
    # Nor was it asked without a pause, which would keep it busier still.
    most = (time.monotonic() - begun_s) / client_module.GREETING_PAUSE_S
    assert len(given_up) <= most


def test_another_model_than_the_servers_is_refused(session: DetectionSession) -> None:
    assert session.server is not None
    with pytest.raises(Exception, match="serves the model"):
        open_session(SessionOptions(server=session.server.address, model="yolov5l-face"))


def test_threshold_of_requests_without_one_is_the_default(
    session: DetectionSession, shared: Path
) -> None:
    assert session.server is not None
    with grpcclient.InferenceServerClient(session.server.address) as client:
        config = client.get_model_config(DETECTOR, client_timeout=60).config
        images = grpcclient.InferInput("images", [1, *_golden(shared, "crowd").shape], "UINT8")
        images.set_data_from_numpy(_golden(shared, "crowd")[None])
        faces = client.infer(ENSEMBLE, [images], client_timeout=30).as_numpy("faces")
    assert float(config.parameters["default_min_score"].string_value) == DEFAULT_THRESHOLD
    assert DEFAULT_THRESHOLD < faces[0, :, 4].min() < DEFAULT_THRESHOLD + 0.1
