"""Images as shared memory, pixels or JPEG, to a real server; and which is chosen."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpcclient
from click.testing import CliRunner
from tritonclient.utils import InferenceServerException

from faceblur.cli import main
from faceblur.detection import canary, models
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.detection.triton import transports
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.detection.triton.transports import compare, prefers_jpeg
from faceblur.detections import Detections
from faceblur.errors import CanaryError, FaceblurError, ServerError
from faceblur.live.config.config import load_config
from rig.slow_link import SlowLink

ROOT = Path(__file__).resolve().parents[3]
MIN_SCORE = 0.3
DEADLINE_S = 60.0
BOX_TOLERANCE = 0.02
"""Of the larger side of a face: what its box may move when its image was a JPEG."""
SCORE_TOLERANCE = 0.03


@pytest.fixture(scope="module")
def server(official: str) -> Iterator[TritonServer]:
    """Refuses regions, as one on another machine does."""
    onnx, model = models.find(official)
    with TritonServer(
        ServerOptions(onnx=onnx, model=model, share_memory=False, max_side=8192)
    ) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Iterator[grpcclient.InferenceServerClient]:
    with grpcclient.InferenceServerClient(server.address) as opened:
        yield opened


@pytest.fixture
def detectors(server: TritonServer) -> Iterator[dict[str, TritonDetector]]:
    """One for pixels and one for JPEG."""
    opened = {
        name: TritonDetector(Connection(address=server.address, transport=name))
        for name in ("raw", "jpeg")
    }
    assert {name: detector.transport for name, detector in opened.items()} == {
        "raw": "raw",
        "jpeg": "jpeg",
    }
    yield opened
    for detector in opened.values():
        detector.close()


def _encoded(image: npt.NDArray[np.uint8], *settings: int) -> bytes:
    """A JPEG of BGR pixels."""
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95, *settings])[1])


def _ask(
    client: grpcclient.InferenceServerClient,
    files: Sequence[bytes],
    *,
    size: Sequence[int] | None = None,
) -> list[Detections]:
    """What the ensemble finds in files, in one request, asked as anybody would."""
    jpeg = grpcclient.InferInput("jpeg", [len(files), 1], "BYTES")
    jpeg.set_data_from_numpy(np.array([[data] for data in files], np.object_))
    inputs = [jpeg]
    if size is not None:
        inputs.append(grpcclient.InferInput("size", [len(size), 1], "INT32"))
        inputs[-1].set_data_from_numpy(np.array(size, np.int32)[:, None])
    min_score = grpcclient.InferInput("min_score", [len(files), 1], "FP32")
    min_score.set_data_from_numpy(np.full((len(files), 1), MIN_SCORE, np.float32))
    result = client.infer(transports.JPEG_ENSEMBLE, [*inputs, min_score], client_timeout=60)
    faces, counts = result.as_numpy("faces"), result.as_numpy("face_count")
    return [Detections.from_rows(rows[:n]) for rows, (n,) in zip(faces, counts, strict=True)]


def _assert_same(found: Detections, expected: Detections, *, tolerance: float) -> None:
    assert len(found) == len(expected) > 0
    sides = (expected.boxes[:, 2:] - expected.boxes[:, :2]).max(axis=1)
    moved = np.abs(found.boxes - expected.boxes).max(axis=1)
    assert (moved <= tolerance * sides).all()
    assert np.abs(found.scores - expected.scores).max() <= SCORE_TOLERANCE


def test_jpeg_finds_what_pixels_do(
    detectors: dict[str, TritonDetector], portrait: npt.NDArray[np.uint8]
) -> None:
    for size in (320, 640, 1280):
        canvas = Letterbox.plan(512, 512, size=size).apply(portrait[:, :, ::-1])
        raw, jpeg = (
            detectors[name].submit([canvas], min_score=MIN_SCORE)[0].result(60)
            for name in ("raw", "jpeg")
        )
        _assert_same(jpeg, raw, tolerance=BOX_TOLERANCE)


def test_frames_of_all_shapes_in_flight_come_back_to_their_own_request(
    detectors: dict[str, TritonDetector], portrait: npt.NDArray[np.uint8]
) -> None:
    whole = portrait[:, :, ::-1]
    images = [whole, whole[:, 100:388], whole[60:348], np.full_like(whole, 90)]
    canvases = [Letterbox.plan(*p.shape[1::-1]).apply(p) for p in images]
    futures = [detectors["jpeg"].submit([canvases[i % 4]], min_score=0.5)[0] for i in range(24)]
    assert [len(future.result(60)) for future in futures] == [1, 1, 1, 0] * 6


@pytest.mark.parametrize("name", ["raw", "jpeg"])
def test_several_canvases_travel_in_one_request(
    detectors: dict[str, TritonDetector], portrait: npt.NDArray[np.uint8], name: str
) -> None:
    whole = Letterbox.plan(512, 512).apply(portrait[:, :, ::-1])
    canvases = [whole, np.full_like(whole, 90), np.ascontiguousarray(whole[:, ::-1])]
    alone = [detectors[name].submit([canvas], min_score=0.5)[0].result(60) for canvas in canvases]
    together = detectors[name].submit(canvases, min_score=0.5)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other.result(60).rows(), one.rows(), atol=1e-3)
    assert [len(faces) for faces in alone] == [1, 0, 1]


def test_any_image_is_answered_in_its_own_pixels(
    client: grpcclient.InferenceServerClient,
    detectors: dict[str, TritonDetector],
    portrait: npt.NDArray[np.uint8],
) -> None:
    """The server letterboxes as the client does: same canvas, same faces, to the last digit."""
    for width, height in ((512, 512), (1500, 900), (333, 777), (150, 150)):
        data = _encoded(cv2.resize(portrait, (width, height)))
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        letterbox = Letterbox.plan(width, height)
        canvas = letterbox.apply(np.ascontiguousarray(pixels))
        here = detectors["raw"].submit([canvas], min_score=MIN_SCORE)[0].result(60)
        (there,) = _ask(client, [data])
        expected = letterbox.to_source(here).rows()
        np.testing.assert_allclose(there.rows(), expected, rtol=1e-4, atol=1e-3)


def test_images_of_several_sizes_fit_into_one_request(
    client: grpcclient.InferenceServerClient, portrait: npt.NDArray[np.uint8]
) -> None:
    sizes = ((512, 512), (1536, 1024), (256, 512))
    files = [_encoded(cv2.resize(portrait, size)) for size in sizes]
    together = _ask(client, files)
    for data, found in zip(files, together, strict=True):
        (alone,) = _ask(client, [data])
        _assert_same(found, alone, tolerance=0.1)


def test_the_size_on_the_canvas_can_be_asked_for(
    client: grpcclient.InferenceServerClient, portrait: npt.NDArray[np.uint8]
) -> None:
    file = _encoded(portrait)
    large, small = (_ask(client, [file], size=[size])[0] for size in (640, 160))
    assert np.abs(large.boxes - small.boxes).max() > 0.5
    _assert_same(small, large, tolerance=0.2)
    (default,) = _ask(client, [file])
    np.testing.assert_array_equal(default.rows(), large.rows())


def test_grey_progressive_and_turned_images_are_taken_as_coded(
    client: grpcclient.InferenceServerClient, portrait: npt.NDArray[np.uint8]
) -> None:
    (plain,) = _ask(client, [_encoded(portrait)])
    grey = _encoded(cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY))
    progressive = _encoded(portrait, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    for data in (grey, progressive):
        (found,) = _ask(client, [data])
        assert len(found) == 1
        assert np.abs(found.boxes - plain.boxes).max() < 20
    # An orientation mark would turn the image, and the boxes would be another image's.
    (turned,) = _ask(client, [_with_orientation(_encoded(portrait), 6)])
    np.testing.assert_array_equal(turned.rows(), plain.rows())


def _with_orientation(jpeg: bytes, orientation: int) -> bytes:
    tag = bytes((1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0))
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + tag + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]


def _bomb() -> bytes:
    """A few hundred bytes that say they have 4,294 million pixels."""
    data = bytearray(_encoded(np.zeros((16, 16, 3), np.uint8)))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    return bytes(data)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(lambda good: good[: len(good) // 2], "is cut off", id="half of it"),
        pytest.param(lambda good: good[:-2], "is cut off", id="no end"),
        pytest.param(lambda good: b"", "is not a JPEG", id="empty"),
        pytest.param(lambda good: b"\x89PNG" + good, "is not a JPEG", id="another format"),
        pytest.param(lambda good: good[:2] + good[-2:], "has no pixels", id="nothing in it"),
        pytest.param(lambda good: _bomb(), "at most 40000000", id="bomb"),
    ],
)
def test_a_bad_image_is_an_error_and_fails_alone(
    client: grpcclient.InferenceServerClient,
    portrait: npt.NDArray[np.uint8],
    damage: object,
    reason: str,
) -> None:
    good = _encoded(portrait)
    with pytest.raises(InferenceServerException, match=reason):
        _ask(client, [damage(good)])  # type: ignore[operator]
    with pytest.raises(InferenceServerException, match=reason):
        _ask(client, [good, damage(good)])  # type: ignore[operator]
    assert [len(found) for found in _ask(client, [good, good])] == [1, 1]


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [([9000, 9000], "between 32 and 8192"), ([-1, -1], "between"), ([320, 640], "share one size")],
)
def test_a_size_that_cannot_be_is_an_error(
    client: grpcclient.InferenceServerClient,
    portrait: npt.NDArray[np.uint8],
    sizes: list[int],
    reason: str,
) -> None:
    with pytest.raises(InferenceServerException, match=reason):
        _ask(client, [_encoded(portrait)] * 2, size=sizes)


def test_small_files_cannot_ask_for_huge_canvases(
    client: grpcclient.InferenceServerClient, portrait: npt.NDArray[np.uint8]
) -> None:
    with pytest.raises(InferenceServerException, match="40000000 pixels"):
        _ask(client, [_encoded(portrait)] * 8, size=[4096] * 8)


def test_shared_memory_is_taken_where_it_works(session: DetectionSession) -> None:
    assert session.server is not None
    detector = TritonDetector(Connection(address=session.server.address))
    try:
        assert detector.transport == "shm"
    finally:
        detector.close()


def test_where_it_is_refused_the_faster_of_the_others_is_measured(
    server: TritonServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "faceblur"):
        detector = TritonDetector(Connection(address=server.address))
    try:
        assert detector.transport in ("raw", "jpeg")
        assert "there and back in" in caplog.text
        canary.check(detector, deadline_s=60)
    finally:
        detector.close()
    with pytest.raises(ServerError, match="does not take shared memory"):
        TritonDetector(Connection(address=server.address, transport="shm"))


def test_over_a_slow_network_jpeg_is_chosen(
    server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All rounds, of which one without a pause of the machine is enough.
    monkeypatch.setattr(transports, "BUDGET_S", 60.0)
    link = SlowLink(server.address, mbit_per_s=20)
    detector = TritonDetector(Connection(address=link.address, deadline_s=60))
    try:
        assert detector.transport == "jpeg"
    finally:
        detector.close()
        link.cut()


def test_a_server_without_the_jpeg_models_gets_pixels(session: DetectionSession) -> None:
    assert session.server is not None
    # As one of several, so that shared memory is out of the question.
    detector = TritonDetector(Connection(address=f"ipv4:{session.server.address}"))
    try:
        assert detector.transport == "raw"
    finally:
        detector.close()
    with pytest.raises(ServerError, match="does not serve face_detection_jpeg; use --transport"):
        TritonDetector(Connection(address=session.server.address, transport="jpeg"))


class _Late(Future[Detections]):
    """Not there when the time is over, which is at once."""

    def result(self, timeout: float | None = None) -> Detections:
        assert timeout == DEADLINE_S
        raise FutureTimeoutError


@pytest.mark.parametrize("way", ["fails", "is blind", "is late"])
def test_a_way_that_brings_no_faces_is_never_chosen(
    detectors: dict[str, TritonDetector], way: str
) -> None:
    def jpeg(canvas: npt.NDArray[np.uint8]) -> object:
        if way == "fails":
            canvas = np.zeros((384, 640, 3), np.uint8)
            return detectors["jpeg"].submit([canvas], min_score=2.0)[0]
        if way == "is blind":
            return detectors["jpeg"].submit([np.zeros_like(canvas)], min_score=MIN_SCORE)[0]
        return _Late()

    def raw(canvas: npt.NDArray[np.uint8]) -> object:
        return detectors["raw"].submit([canvas], min_score=MIN_SCORE)[0]

    raw_s, jpeg_s = compare(raw, jpeg, canary.check_image(), deadline_s=DEADLINE_S)  # type: ignore[arg-type]
    assert raw_s < DEADLINE_S
    assert not prefers_jpeg(raw_s=raw_s, jpeg_s=jpeg_s)


def test_exact_pixels_win_a_draw() -> None:
    assert not prefers_jpeg(raw_s=0.010, jpeg_s=0.0095)
    assert prefers_jpeg(raw_s=0.010, jpeg_s=0.005)
    assert prefers_jpeg(raw_s=float("inf"), jpeg_s=0.5)


def test_the_canary_takes_the_same_way_as_the_frames(
    server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SessionOptions(server=server.address, transport="jpeg")
    open_session(options).close()
    black = transports.encode_jpeg(np.zeros((128, 128, 3), np.uint8))
    monkeypatch.setattr(transports, "encode_jpeg", lambda canvas: black)
    with pytest.raises(CanaryError, match="without its face"):
        open_session(options)


def test_a_photo_is_blurred_by_way_of_jpeg(server: TritonServer, tmp_path: Path) -> None:
    photo = Path(shutil.copy(ROOT / "docs" / "images" / "before.jpg", tmp_path / "photo.jpg"))
    done = _blur(photo, server)
    assert done.exit_code == 0, done.output
    before, after = (cv2.imread(str(p)) for p in (photo, tmp_path / "photo_blurred.jpg"))
    face, elsewhere = (slice(75, 180), slice(185, 265)), (slice(400, 500), slice(20, 120))
    assert np.abs(before.astype(int) - after)[face].mean() > 15
    assert np.abs(before.astype(int) - after)[elsewhere].mean() < 3


def test_a_image_that_arrives_broken_leaves_no_file(
    server: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = Path(shutil.copy(ROOT / "docs" / "images" / "before.jpg", tmp_path / "photo.jpg"))
    encode, broken = transports.encode_jpeg, threading.Event()

    def cut(canvas: npt.NDArray[np.uint8]) -> bytes:
        whole = encode(canvas)
        if canvas.shape[0] == 128:  # the canary lives
            return whole
        broken.set()
        return whole[: len(whole) // 2]

    monkeypatch.setattr(transports, "encode_jpeg", cut)
    done = _blur(photo, server)
    assert broken.is_set()
    assert done.exit_code != 0
    assert "the JPEG is cut off" in done.output
    assert list(tmp_path.iterdir()) == [photo]


def _blur(photo: Path, server: TritonServer) -> object:
    line = ["blur", str(photo), "--server", server.address, "--transport", "jpeg"]
    line += ["--threshold", "0.2"]
    return CliRunner().invoke(main, line, prog_name="faceblur")


@pytest.mark.parametrize("shape", [(384, 640), (384, 640, 4), (0, 640, 3)])
def test_a_canvas_that_is_no_image_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(FaceblurError, match="canvas"):
        transports.encode_jpeg(np.zeros(shape, np.uint8))


def test_cameras_can_be_told_to_send_jpeg(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text(
        "server: {transport: jpeg}\ncameras: {a: {source: testpattern, sinks: [window]}}"
    )
    assert load_config(file).session.transport == "jpeg"
