"""No request makes a server grow without bound: too large an image is refused, and alone."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpcclient
from click.testing import CliRunner
from tritonclient.utils import InferenceServerException
from waiting import until

from faceblur.cli import main
from faceblur.detection import models
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import MAX_SIDE
from faceblur.detection.session import SessionOptions, open_session
from faceblur.detection.triton.client import ENSEMBLE, TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.detection.triton.transports import JPEG_ENSEMBLE, encode_jpeg
from faceblur.errors import ServerError
from faceblur.live.config.config import load_config

MB = 1 << 20


@pytest.fixture(scope="module")
def options(official: str) -> ServerOptions:
    onnx, model = models.find(official)
    return ServerOptions(onnx=onnx, model=model, instances=2, threads=1, warm_up=False)


@pytest.fixture(scope="module")
def server(options: ServerOptions) -> Iterator[TritonServer]:
    with TritonServer(options) as started:
        yield started


def _ask(server: TritonServer, *shape: int) -> None:
    images = grpcclient.InferInput("images", list(shape), "UINT8")
    images.set_data_from_numpy(np.zeros(shape, np.uint8))
    with grpcclient.InferenceServerClient(server.address) as client:
        client.infer(ENSEMBLE, [images], client_timeout=60)


def _held_mb(server: TritonServer, kind: str) -> int:
    """How much memory of a kind the largest of the server's Python processes holds."""
    children = Path("/proc", str(server.pid), "task", str(server.pid), "children").read_text()
    stats = [Path("/proc", pid, "status").read_text() for pid in children.split()]
    return max(int(re.findall(rf"{kind}:\s+(\d+)", text)[0]) for text in stats) >> 10


def _assert_given_back(server: TritonServer) -> None:
    # It answers first.
    until(lambda: _held_mb(server, "RssAnon") < 200, "the server gives memory back")


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 64, MAX_SIDE + 32, 3), f"{MAX_SIDE} at most"),
        ((2, MAX_SIDE + 32, 32, 3), f"{MAX_SIDE} at most"),
        ((3, 1088, 1920, 3), "send them apart"),
        ((1, 9792, 9792, 3), "shared memory pool"),
    ],
)
def test_too_large_a_image_is_refused_and_alone(
    server: TritonServer, portrait: npt.NDArray[np.uint8], shape: tuple[int, ...], reason: str
) -> None:
    detector = TritonDetector(Connection(address=server.address, transport="raw"))
    canvas = Letterbox.plan(512, 512).apply(portrait[:, :, ::-1])
    around = [detector.submit([canvas], min_score=0.5)[0] for _ in range(3)]
    with pytest.raises(InferenceServerException, match=reason):
        _ask(server, *shape)
    around += [detector.submit([canvas], min_score=0.5)[0] for _ in range(3)]
    assert [len(future.result(60)) for future in around] == [1] * 6
    detector.close()
    _assert_given_back(server)
    assert _held_mb(server, "RssShmem") < 64 + 16 * 3 * MAX_SIDE**2 // MB


def test_so_it_is_where_post_processing_is_a_model_of_its_own(options: ServerOptions) -> None:
    with TritonServer(replace(options, chained=True, jpeg=False)) as server:
        for shape, reason in (
            ((1, 64, MAX_SIDE + 32, 3), "at most"),
            ((3, 1088, 1920, 3), "apart"),
        ):
            with pytest.raises(InferenceServerException, match=reason):
                _ask(server, *shape)
        _ask(server, 1, 64, 64, 3)


def test_the_largest_image_is_taken_and_its_memory_given_back(server: TritonServer) -> None:
    _ask(server, 1, MAX_SIDE, MAX_SIDE, 3)
    _assert_given_back(server)


def test_a_jpeg_cannot_ask_for_more_either(
    server: TritonServer, portrait: npt.NDArray[np.uint8]
) -> None:
    jpeg = grpcclient.InferInput("jpeg", [1, 1], "BYTES")
    jpeg.set_data_from_numpy(np.array([[encode_jpeg(portrait)]], np.object_))
    size = grpcclient.InferInput("size", [1, 1], "INT32")
    size.set_data_from_numpy(np.array([[MAX_SIDE + 1]], np.int32))
    with (
        grpcclient.InferenceServerClient(server.address) as client,
        pytest.raises(InferenceServerException, match=f"between 32 and {MAX_SIDE}"),
    ):
        client.infer(JPEG_ENSEMBLE, [jpeg, size], client_timeout=60)


def test_our_clients_never_ask_for_more(server: TritonServer, tmp_path: Path) -> None:
    detector = TritonDetector(Connection(address=server.address))
    wide = np.zeros((64, MAX_SIDE + 32, 3), np.uint8)
    for future in [
        detector.submit([wide], min_score=0.5)[0],
        *detector.submit([wide] * 2, min_score=0.5),
    ]:
        with pytest.raises(ServerError, match=f"faceblur serve --max-side {MAX_SIDE + 32}"):
            future.result(60)
    detector.close()
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.zeros((64, 64, 3), np.uint8))
    line = ["blur", str(photo), "--server", server.address, "--size"]
    refused = CliRunner().invoke(main, [*line, str(MAX_SIDE + 1)])
    assert refused.exit_code == ServerError.exit_code
    (sentence,) = refused.stderr.splitlines()
    assert f"give --size {MAX_SIDE}, or" in sentence
    assert list(tmp_path.iterdir()) == [photo]
    assert CliRunner().invoke(main, [*line, str(MAX_SIDE)]).exit_code == 0


def test_a_server_of_ones_own_takes_what_one_asks_for(official: str) -> None:
    with open_session(SessionOptions(model=official), size=MAX_SIDE + 500) as session:
        wide = np.zeros((64, MAX_SIDE + 512, 3), np.uint8)
        assert len(session.detector.submit([wide], min_score=0.5)[0].result(60)) == 0


def test_the_limit_can_be_set_and_cameras_say_what_they_need(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[ServerOptions] = []

    def no_server(options: ServerOptions) -> TritonServer:
        started.append(options)
        raise ServerError("not started")

    module = importlib.import_module("faceblur.cli.serve")
    monkeypatch.setattr(module, "TritonServer", no_server)
    CliRunner().invoke(main, ["serve", "--max-side", "3840"])
    assert [options.max_side for options in started] == [3840]
    file = tmp_path / "cameras.yaml"
    file.write_text(
        "cameras:\n"
        "  a: {source: testpattern, sinks: [window]}\n"
        "  b: {source: testpattern, sinks: [window], size: 2560}\n"
    )
    assert load_config(file).size == 2560
