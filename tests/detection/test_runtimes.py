"""What runs a model: OpenVINO only where everything speaks for it, ONNX Runtime else."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from faceblur.detection import runtimes
from faceblur.detection.repository import SHIPPED, shipped_onnx
from faceblur.detection.session import SessionOptions, open_session
from faceblur.detection.triton import server as server_module
from faceblur.errors import InputError
from faceblur.files import file_sha256

# Not imported here: the code under test is what keeps its reports out.
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None,
    reason="needs OpenVINO: pip install -e '.[openvino]'",
)
CPU = "processor\t: 0\nflags\t\t: fpu {} sse\nbugs\t\t:\n"


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model for which everything speaks for OpenVINO."""
    model = tmp_path / "model.onnx"
    shutil.copyfile(shipped_onnx(), model)
    record = {"candidate_sha256": file_sha256(model), "precision": "bf16", "passed": True}
    runtimes.record_path(model).write_text(json.dumps(record))
    monkeypatch.delenv(runtimes.VARIABLE)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(runtimes, "_CPU", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(CPU.format("avx512_bf16"))
    return model


def test_openvino_is_chosen_where_everything_speaks_for_it(judged: Path) -> None:
    assert runtimes.choose(judged).runtime == "openvino"


@pytest.mark.parametrize(
    "cause", ["told", "package", "cpu", "no cpuinfo", "record", "refused", "changed", "text"]
)
def test_one_thing_against_openvino_is_enough(
    judged: Path, monkeypatch: pytest.MonkeyPatch, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    record = runtimes.record_path(judged)
    content = json.loads(record.read_text())
    monkeypatch.setenv(runtimes.VARIABLE, "onnxruntime" if cause == "told" else "openvino")
    if cause == "package":
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    if cause == "cpu":
        (judged.parent / "cpuinfo").write_text(CPU.format("avx512f"))
    if cause == "no cpuinfo":
        (judged.parent / "cpuinfo").unlink()
    if cause == "record":
        record.unlink()
    if cause == "refused":
        record.write_text(json.dumps(content | {"passed": False}))
    if cause == "changed":
        record.write_text(json.dumps(content | {"candidate_sha256": "0" * 64}))
    if cause == "text":
        record.write_text("[]")
    assert runtimes.choose(judged).runtime == "onnxruntime"
    # Who asked for it is told why he does not get it.
    assert len(caplog.records) == (cause != "told")


def test_a_runtime_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runtimes.VARIABLE, "tflite")
    with pytest.raises(InputError, match="use auto, onnxruntime, openvino, cuda, tensorrt"):
        runtimes.choose(shipped_onnx())


class _Broken:
    """In place of OpenVINO's code: fails as soon as it is used."""

    def __init__(self, *_: object, **__: object) -> None:
        raise RuntimeError("illegal\ninstruction")


def test_this_process_falls_back_to_onnx_runtime(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtimes, "load_code", lambda *_: _Module())
    monkeypatch.setattr(runtimes, "choose", lambda _: runtimes.Choice("openvino"))
    with open_session(SessionOptions(in_process=True)) as session:
        assert session.where == "this process, ONNX Runtime"
        assert "onnxruntime" in session.tools
        assert "openvino" not in session.tools
    warnings = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert warnings == ["using ONNX Runtime, since OpenVINO failed: illegal instruction"]


class _Module:
    OpenVinoNetwork = _Broken


def test_a_server_falls_back_to_onnx_runtime(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = server_module.stage_repository

    def staged(folder: Path, **options: Any) -> None:
        stage(folder, **options)
        code = folder / "yolov5_face" / "1" / "openvino_network.py"
        code.write_text("raise RuntimeError('illegal instruction')\n")

    monkeypatch.setattr(server_module, "stage_repository", staged)
    monkeypatch.setattr(runtimes, "choose", lambda _: runtimes.Choice("openvino"))
    with open_session(SessionOptions()) as session:
        assert session.kind == "embedded"
        assert session.where.endswith(", ONNX Runtime")
        assert "openvino" not in session.tools
    warnings = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "illegal instruction" in warnings[0]


SCRIPT = """
import json, sys
import cv2, numpy as np
from faceblur.detection.decoding import find_faces
from faceblur.detection.models import INPUT, OUTPUTS, open_onnx
from faceblur.detection.repository import load_code, shipped_onnx

onnx, image = shipped_onnx(), cv2.imread(sys.argv[1])
network = load_code("yolov5_face", "openvino_network").OpenVinoNetwork
canvas = {INPUT: np.ascontiguousarray(image[None, :, :, ::-1])}
networks = (
    open_onnx(onnx, threads=1),
    network(onnx, streams=1, threads=1, precision="f32"),
    network(onnx, streams=1, threads=1),
)
found = [find_faces(*each.run(OUTPUTS, canvas), np.array([0.5]))[0].tolist() for each in networks]
assert sys.modules["openvino_telemetry"] is None
print(json.dumps(found))
"""


@needs_openvino
def test_openvino_finds_what_onnx_runtime_finds(
    portrait: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "portrait.png"), portrait)
    # In a process of its own: OpenVINO and what PyTorch compiles in other tests do not get along.
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "portrait.png")],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    usual, exact, rounded = json.loads(done.stdout.splitlines()[-1])
    assert len(usual) == 1
    np.testing.assert_allclose(exact, usual, atol=1e-2)
    # About three digits.
    np.testing.assert_allclose(rounded, usual, rtol=0.01, atol=1)
    assert not np.array_equal(rounded, exact)


@needs_openvino
def test_a_server_runs_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "choose", lambda _: runtimes.Choice("openvino"))
    with open_session(SessionOptions()) as session:
        assert session.where.endswith(", OpenVINO in bfloat16")
        assert "openvino" in session.tools
        assert "onnxruntime" not in session.tools


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_passed_the_gate_in_bfloat16(name: str) -> None:
    model = shipped_onnx(name)
    record = json.loads(runtimes.record_path(model).read_text())
    assert record["candidate_sha256"] == file_sha256(model), (
        f"the model has changed: faceblur-export gate {name} --openvino --data LABELLED_IMAGES"
    )
    assert record["passed"] is True
    assert record["precision"] == "bf16"
