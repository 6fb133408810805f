"""A GPU where one works, the CPU with one warning where none does; tried without one.

What a GPU would run is run by the CPU's provider, through the same code and processes.
"""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from stand_ins import FAST, GPUS, warnings

from faceblur.cli import doctor
from faceblur.detection import models, runtimes
from faceblur.detection.gpu import precision, use
from faceblur.detection.gpu.networks import GpuNetworks
from faceblur.detection.gpu.use import GpuUse
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.session import SessionOptions, open_session
from faceblur.detection.triton import server as server_module
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import InputError, ServerError
from faceblur.files import file_sha256


def test_a_gpu_that_does_not_work_is_said_once(gpu: None, caplog: pytest.LogCaptureFixture) -> None:
    # This build of ONNX Runtime has no provider for it: the process that tries it fails.
    for _ in range(2):
        assert runtimes.choose(FAST).use is None
    (said,) = warnings(caplog)
    assert "the Test GPU is idle" in said
    assert "this build of ONNX Runtime has no CUDAExecutionProvider" in said
    with pytest.raises(InputError, match=r"GPU cannot be used: .*no CUDAExecutionProvider"):
        runtimes.choose(FAST, gpus=(1,))


@pytest.mark.parametrize(
    ("active", "installed", "advice"),
    [
        ("onnxruntime", {"onnxruntime"}, "pip uninstall -y onnxruntime && pip install"),
        ("", set(), "is not installed; run: pip install"),
        ("onnxruntime", {"onnxruntime", "onnxruntime-gpu"}, "onnxruntime covers onnxruntime-gpu"),
    ],
)
def test_the_wrong_build_is_named_with_what_to_do(
    gpu: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    active: str,
    installed: set[str],
    advice: str,
) -> None:
    monkeypatch.setattr(use, "_active_build", lambda: active)
    monkeypatch.setattr(use, "_version", lambda name: "1" if name in installed else None)
    assert runtimes.choose(FAST).use is None
    (said,) = warnings(caplog)
    assert advice in said
    assert "[gpu]" in said


def test_a_machine_without_a_gpu_behaves_as_ever(
    gpu: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtimes, "find_gpus", lambda: ())
    assert runtimes.choose(FAST).use is None
    assert not warnings(caplog)
    monkeypatch.setenv(runtimes.VARIABLE, "cuda")
    assert runtimes.choose(FAST).use is None
    assert warnings(caplog) == ["FACEBLUR_RUNTIME is cuda, and no NVIDIA GPU is here"]
    monkeypatch.delenv(runtimes.VARIABLE)
    with pytest.raises(InputError, match="no NVIDIA GPU 0 here, but none"):
        runtimes.choose(FAST, gpus=(0,))
    monkeypatch.setenv(runtimes.VARIABLE, "onnxruntime")
    with pytest.raises(InputError, match="runs no GPU"):
        runtimes.choose(FAST, gpus=(0,))


def test_a_server_gives_each_gpu_its_instances_and_answers_in_batches(
    stand_in: None, caplog: pytest.LogCaptureFixture
) -> None:
    choice = runtimes.choose(FAST, gpus=(0, 1))
    options = ServerOptions(
        onnx=FAST, model=models.find("fast")[1], jpeg=False, warm_up=False, choice=choice,
        instances=2,
    )  # fmt: skip
    inputs = [
        np.random.default_rng(i).integers(0, 256, (96, 128, 3), dtype=np.uint8) for i in range(12)
    ]
    alone = InProcessDetector(FAST, instances=1, threads=1)
    wanted = [each.result() for each in alone.submit(inputs, min_score=0.01)]
    alone.close()
    with server_module.TritonServer(options) as server:
        detector = TritonDetector(Connection(address=server.address, transport="raw"))
        assert detector.runs_on == "CUDA in FP32 on 2 × Test GPU"
        answers = [detector.submit([each], min_score=0.01)[0] for each in inputs]
        wait(answers)
        for answer, expected in zip(answers, wanted, strict=True):
            np.testing.assert_allclose(answer.result().boxes, expected.boxes, rtol=1e-3, atol=1e-2)
        assert options.all_instances == 4
        assert options.canary_copies == 32
        names = set(re.findall(r"TRITONBACKEND_ModelInstanceInitialize: (gpu\w+)", server.log))
        detector.close()
    assert names == {"gpu0_0", "gpu0_1", "gpu1_0", "gpu1_1"}


def test_what_fails_at_its_first_run_leaves_the_cpu(
    stand_in: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage = server_module.stage_repository

    def staged(folder: Path, **options: Any) -> None:
        stage(folder, **options)
        code = folder / "yolov5_face" / "1" / "gpu_network.py"
        code.write_text("raise RuntimeError('CUDA error 700')\n")

    monkeypatch.setattr(server_module, "stage_repository", staged)
    forgotten: list[GpuUse] = []
    monkeypatch.setattr(runtimes, "forget", forgotten.append)
    with open_session(SessionOptions(model="fast")) as session:
        assert session.where.endswith(", ONNX Runtime")
        assert "onnxruntime" in session.tools
    (said,) = warnings(caplog)
    assert said.startswith("using ONNX Runtime, since CUDA failed")
    assert "CUDA error 700" in said
    assert len(forgotten) == 1


def test_this_process_falls_back_as_well(
    stand_in: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with open_session(SessionOptions(model="fast", in_process=True)) as session:
        assert session.where == "this process, CUDA in FP32 on Test GPU"

    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(runtimes, "GpuNetworks", failing)
    with open_session(SessionOptions(model="fast", in_process=True)) as session:
        assert session.where == "this process, ONNX Runtime"
    assert warnings(caplog) == ["using ONNX Runtime, since CUDA failed: out of memory"]


class _Failing:
    """A network whose first run fails."""

    def __init__(self, network: Any) -> None:
        self.network, self.runs = network, 0

    def run(self, *arguments: Any) -> Any:
        self.runs += 1
        if self.runs == 1:
            raise RuntimeError("CUDA error 700")
        return self.network.run(*arguments)


def test_a_run_that_fails_is_a_frame_that_was_not_checked(
    stand_in: None, portrait: npt.NDArray[np.uint8]
) -> None:
    choice = runtimes.choose(FAST)
    detector = InProcessDetector(FAST, choice=choice, instances=1)
    networks = detector._session
    assert isinstance(networks, GpuNetworks)
    networks._free.put(_Failing(networks._free.get()))
    canvas = np.ascontiguousarray(portrait[:, :, ::-1])
    first, second = detector.submit([canvas, canvas], min_score=0.5)
    with pytest.raises(ServerError, match="CUDA error 700"):
        first.result()
    # The network goes back to those that are free; the next frame is answered.
    assert len(second.result().boxes) == 1
    detector.close()


def test_lower_precision_needs_a_record_of_the_gate(tmp_path: Path) -> None:
    model, half = tmp_path / "model.onnx", tmp_path / "model.fp16.onnx"
    shutil.copyfile(FAST, model)
    assert precision.chosen_precision(model) == (model, "fp32")
    half.write_bytes(b"the same, in half precision")
    assert precision.chosen_precision(model) == (model, "fp32")

    def record(candidate: Path, **changes: object) -> None:
        content = {
            "passed": True,
            "precision": "fp16" if candidate == half else "tf32",
            "candidate_sha256": file_sha256(candidate),
            "reference_sha256": file_sha256(model),
        }
        precision.record_path(candidate).write_text(json.dumps(content | changes))

    record(half, passed=False)
    record(model, precision="fp16")
    assert precision.chosen_precision(model) == (model, "fp32")
    record(model)
    assert precision.chosen_precision(model) == (model, "tf32")
    record(half)
    assert precision.chosen_precision(model) == (half, "fp16")
    record(half, reference_sha256="0" * 64)
    assert precision.chosen_precision(model) == (model, "tf32")


def test_doctor_names_each_gpu_and_what_it_runs(
    stand_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "find_gpus", lambda: GPUS)
    first, second = doctor._gpus()
    assert first.good
    assert first.text == "0: Test GPU, 16 GiB, driver 580.1, runs CUDA in FP32"
    monkeypatch.setattr(use, "_active_build", lambda: "")
    first, second = doctor._gpus()
    assert not second.good
    assert second.text.endswith("is not used")
    assert "[gpu]" in second.advice
