"""The client against a real Triton server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpcclient

from faceblur.detection import canary, models
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.letterbox import Letterbox, canonical_shapes
from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.detection.triton.client import DETECTOR, ENSEMBLE, TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.leftovers import execution_environments, remove_leftovers
from faceblur.detection.triton.ports import free_port
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.detection.triton.shared_memory import SHM_FOLDER
from faceblur.errors import (
    CanaryError,
    ServerError,
    ServerStartError,
    ServerUnavailableError,
)
from faceblur.owners import own_mark

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


@pytest.fixture
def own_server(official: str) -> Iterator[TritonServer]:
    """A server that a test may break."""
    onnx, model = models.find(official)
    with TritonServer(ServerOptions(onnx=onnx, model=model)) as server:
        yield server


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
        config = client.get_model_config("yolov5_face", client_timeout=10).config
    moved = sum(4 * int(np.prod(list(output.dims))) for output in config.output)
    full = 4 * 16 * 25_200
    assert moved < full / 6


def test_every_canonical_shape_is_warmed_up_unless_somebody_waits_for_the_server(
    own_server: TritonServer, session: DetectionSession
) -> None:
    assert session.server is not None
    assert _warm(own_server) == set(canonical_shapes())
    assert _warm(session.server) == set()


def _warm(server: TritonServer) -> set[tuple[int, ...]]:
    with grpcclient.InferenceServerClient(server.address) as client:
        config = client.get_model_config("yolov5_face", client_timeout=10).config
    return {tuple(warmup.inputs["images"].dims)[:2] for warmup in config.model_warmup}


def test_a_dead_stub_is_seen_by_the_canary_though_the_server_says_ready(
    own_server: TritonServer, portrait: npt.NDArray[np.uint8]
) -> None:
    connection = Connection(address=own_server.address, deadline_s=5)
    detector = TritonDetector(connection)
    guarded = canary.GuardedDetector(
        detector, deadline_s=5, interval_s=600, revive=own_server.restart
    )
    try:
        canvas = Letterbox.plan(512, 512).apply(portrait[:, :, ::-1])
        assert len(guarded.submit([canvas], min_score=0.5)[0].result(10)) == 1
        _kill_stubs(own_server)
        with grpcclient.InferenceServerClient(own_server.address) as client:
            assert client.is_server_ready(client_timeout=5)
            assert client.is_model_ready("face_detection", client_timeout=5)
        with pytest.raises(CanaryError):
            canary.check(detector, deadline_s=5)
        assert guarded.recovered(timeout_s=60)
        assert len(guarded.submit([canvas], min_score=0.5)[0].result(10)) == 1
    finally:
        guarded.close()


def test_a_killed_server_takes_its_stubs_and_their_images_with_it(
    own_server: TritonServer,
) -> None:
    assert own_server.pid is not None
    children = _children(own_server)
    assert len([name for name in children.values() if name.startswith("triton_python")]) >= 2
    os.kill(own_server.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(_alive(str(pid)) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [name for pid, name in children.items() if _alive(str(pid))]


def test_a_server_that_hangs_is_a_missed_deadline(
    own_server: TritonServer, portrait: npt.NDArray[np.uint8]
) -> None:
    address, canvas = own_server.address, np.zeros((384, 640, 3), np.uint8)
    detector = TritonDetector(Connection(address=address, deadline_s=1.0))
    raw = TritonDetector(Connection(address=address, deadline_s=1.0, transport="raw"))
    assert own_server.pid is not None
    os.killpg(own_server.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        # Each image of a request may take as long as one alone.
        together = raw.submit([canvas] * 2, min_score=0.5)
        with pytest.raises(ServerError, match="within 1 s"):
            detector.submit([canvas], min_score=0.5)[0].result(30)
        for future in together:
            with pytest.raises(ServerError, match="within 2 s"):
                future.result(30)
        assert time.monotonic() - started < 10
    finally:
        os.killpg(own_server.pid, signal.SIGCONT)
        detector.close()
        raw.close()


def test_nothing_is_left_when_the_server_stops(
    official: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx, model = models.find(official)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for _ in range(4):
        packages = execution_environments()
        with TritonServer(ServerOptions(onnx=onnx, model=model)) as server:
            pid = server.pid
            detector = TritonDetector(Connection(address=server.address))
            detector.close()
            assert list(tmp_path.iterdir())
        assert list(tmp_path.iterdir()) == []
        # Where another server starts at the same time, nobody can tell whose folder is whose.
        if execution_environments() <= packages:
            break
    else:
        pytest.fail("folders of packages are left")
    assert not [path for path in SHM_FOLDER.iterdir() if own_mark() in path.name]
    assert not Path("/proc", str(pid)).exists()


def test_the_server_dies_with_a_parent_that_is_killed(
    official: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder of its own: any server that starts beside it clears the common one up.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    script = (
        "import sys, time\n"
        "from faceblur.detection import models\n"
        "from faceblur.detection.triton.server import TritonServer\n"
        "from faceblur.detection.triton.server_options import ServerOptions\n"
        f"onnx, model = models.find({official!r})\n"
        "server = TritonServer(ServerOptions(onnx=onnx, model=model))\n"
        "server.start()\n"
        "sys.stdout.write(f'{server.pid}\\n'); sys.stdout.flush()\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    server_pid = parent.stdout.readline().strip()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while _alive(server_pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(server_pid)
    assert not [path for path in SHM_FOLDER.iterdir() if f"-{parent.pid}-" in path.name]
    left = list(Path(tempfile.gettempdir()).glob(f"faceblur-triton-*-{parent.pid}-*"))
    remove_leftovers()
    assert [path.exists() for path in left] == [False]


def test_no_server_is_a_clear_error() -> None:
    with pytest.raises(ServerUnavailableError, match="faceblur serve"):
        TritonDetector(Connection(address=f"127.0.0.1:{free_port('127.0.0.1')}", deadline_s=3))


def test_a_taken_port_is_a_clear_error(session: DetectionSession, official: str) -> None:
    assert session.server is not None
    onnx, model = models.find(official)
    port = int(session.server.address.rpartition(":")[2])
    with pytest.raises(ServerStartError, match="--port"):
        TritonServer(ServerOptions(onnx=onnx, model=model, port=port)).start()


def test_a_server_that_cannot_load_its_model_shows_why(official: str, tmp_path: Path) -> None:
    _, model = models.find(official)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ServerStartError, match="did not start"):
        TritonServer(ServerOptions(onnx=broken, model=model)).start()


def test_another_model_than_the_servers_is_refused(session: DetectionSession) -> None:
    assert session.server is not None
    with pytest.raises(Exception, match="serves the model"):
        open_session(SessionOptions(server=session.server.address, model="yolov5l-face"))


def test_threshold_of_requests_without_one_is_the_default(
    session: DetectionSession, shared: Path
) -> None:
    assert session.server is not None
    with grpcclient.InferenceServerClient(session.server.address) as client:
        config = client.get_model_config(DETECTOR, client_timeout=10).config
        images = grpcclient.InferInput("images", [1, *_golden(shared, "crowd").shape], "UINT8")
        images.set_data_from_numpy(_golden(shared, "crowd")[None])
        faces = client.infer(ENSEMBLE, [images], client_timeout=30).as_numpy("faces")
    assert float(config.parameters["default_min_score"].string_value) == DEFAULT_THRESHOLD
    assert DEFAULT_THRESHOLD < faces[0, :, 4].min() < DEFAULT_THRESHOLD + 0.1


def test_what_killed_processes_left_behind_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    live = f"faceblur-triton-{own_mark()}-abc"
    before, _, start = own_mark().rpartition("-")
    left = f"faceblur-triton-{before}-{int(start) + 1}-abc"
    for name in (left, live, "faceblur-triton-mine", "other"):
        (tmp_path / name / "models").mkdir(parents=True)
    stubs = []
    for name in (left, live):
        stub = tmp_path / name / "stub"
        stub.symlink_to("/bin/sleep")
        stubs.append(subprocess.Popen([stub, "60"]))
    remove_leftovers()
    assert {path.name for path in tmp_path.iterdir()} == {live, "faceblur-triton-mine", "other"}
    assert stubs[0].wait(5) == -signal.SIGKILL
    assert stubs[1].poll() is None, "its server is at work"
    stubs[1].kill()
    stubs[1].wait()


def _kill_stubs(server: TritonServer) -> None:
    stubs = [pid for pid, name in _children(server).items() if name.startswith("triton_python")]
    assert stubs
    for pid in stubs:
        os.kill(pid, signal.SIGKILL)


def _children(server: TritonServer) -> dict[int, str]:
    """The names of a server's child processes, by their ids."""
    pids = Path("/proc", str(server.pid), "task", str(server.pid), "children").read_text().split()
    return {int(pid): Path("/proc", pid, "comm").read_text().strip() for pid in pids}


def _alive(pid: str) -> bool:
    stat = Path("/proc", pid, "stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
