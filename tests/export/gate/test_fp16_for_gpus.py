"""FP16 for a GPU: what the gate says of it there, and in its plan."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest
from judged_models import A10, copied, gate_record_of, run

from faceblur import gpus as device
from faceblur.detection.gpu.precision import chosen_precision
from faceblur.detection.repository import shipped_onnx
from faceblur.errors import InputError
from faceblur_export.gate import gate
from faceblur_export.gate.record import GateRecord, Loss
from faceblur_export.gate.step import admit
from faceblur_export.repository import fill_repository, plan_path
from faceblur_export.tensorrt.builders import PythonBuilder
from faceblur_export.tensorrt.plan import PlanOptions, read_manifest


def test_a_gpu_gets_fp16_once_it_passed_there(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "fast.onnx"
    shutil.copyfile(shipped_onnx("fast"), model)
    monkeypatch.setattr(gate, "find_gpus", lambda: ())
    done = run("gate", model, "--cuda", "fp16", "--data", labelled)
    assert done.exit_code == 3
    assert "there is no NVIDIA GPU here" in done.stderr
    # The CPU's provider in place of CUDA's.
    monkeypatch.setattr(gate, "find_gpus", lambda: (device.Gpu(0, "Test GPU", "580", 16 << 30),))
    monkeypatch.setattr(gate, "PROVIDERS", {"cuda": "CPUExecutionProvider"})
    done = run("gate", model, "--cuda", "fp16", "--data", labelled)
    assert done.exit_code == 0, done.output
    half = tmp_path / "fast.fp16.onnx"
    assert chosen_precision(model) == (half, "fp16")
    # What is refused leaves no file that takes room for nothing.
    lost = Loss("AP50", 100, 0.5, 0.4, 0.01, -0.2, -0.1, passed=False)
    worse = GateRecord("fast", "0", "fp16", "0", "labelled", 20, 640, 0.13, (lost,))
    monkeypatch.setattr(gate, "_judge", lambda *_: worse)
    done = run("gate", model, "--cuda", "fp16", "--data", labelled)
    assert done.exit_code == 5
    assert not half.exists()
    assert chosen_precision(model) == (model, "fp32")


def test_fp16_plan_says_whether_it_was_judged(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    rtx: PythonBuilder,
) -> None:
    assert admit(shipped_onnx(), "fp16", data=None, size=640) is None
    assert "not held against FP32" in caplog.text
    caplog.clear()
    model = copied(shipped_onnx(), tmp_path)
    options = PlanOptions(rtx, A10, "fp16", size=64)
    with pytest.raises(InputError):
        fill_repository(tmp_path / "r", model, plan=options, data=tmp_path / "absent")
    assert not (tmp_path / "r").exists()

    def judge(candidate: Path, data: Path, *, reference: Path, size: int) -> gate.GateRecord:
        told = {entry.key: entry.value for entry in onnx.load(candidate).metadata_props}
        assert told["precision"] == "fp16"
        assert (data, reference) == (tmp_path, model)
        return gate_record_of(candidate)

    monkeypatch.setattr(gate, "judge", judge)
    fill_repository(tmp_path / "r", model, size=64, plan=options, data=tmp_path)
    assert read_manifest(plan_path(tmp_path / "r")).gate.startswith("passed on 9 images")
    assert not caplog.text
