"""A GPU where one works, the CPU with one warning where none does; tried without one.

What a GPU would run is run by the CPU's provider, through the same code and processes.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
import time
from concurrent.futures import wait
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from click.testing import CliRunner

from faceblur import gpus
from faceblur.cli import doctor, main
from faceblur.detection import models, runtimes
from faceblur.detection.gpu import precision, probe, trial, use
from faceblur.detection.gpu.networks import GpuNetworks
from faceblur.detection.gpu.probe import Answer
from faceblur.detection.gpu.use import GpuUse
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.models import INPUT, OUTPUTS, open_onnx
from faceblur.detection.repository import load_code, shipped_onnx
from faceblur.detection.session import SessionOptions, open_session
from faceblur.detection.triton import server as server_module
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import InputError, ServerError
from faceblur.files import file_sha256
from faceblur.gpus import Gpu

CPU = "CPUExecutionProvider"
FAST = shipped_onnx("fast")
GPUS = (Gpu(0, "Test GPU", "580.1", 16 << 30), Gpu(1, "Test GPU", "580.1", 16 << 30))
ANSWER = Answer(
    provider=CPU, batch=4, full_from=3, instances=2, images_per_s={"4": 1.0}, decoding_s=0.001
)


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs and the build of ONNX Runtime for them, as far as it seems."""
    monkeypatch.setenv("FACEBLUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(runtimes.VARIABLE)
    monkeypatch.setattr(runtimes, "find_gpus", lambda: GPUS)
    monkeypatch.setattr(runtimes, "_said", set())
    monkeypatch.setattr(use, "_active_build", lambda: "onnxruntime-gpu")


@pytest.fixture
def stand_in(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's provider in place of CUDA's, measured before."""
    monkeypatch.setattr(use, "PROVIDERS", {"cuda": CPU})
    monkeypatch.setattr(use, "_tried", lambda *_: ANSWER)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_trial_in_another_process_says_what_ran_and_how_fast(
    gpu: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(use, "PROVIDERS", {"cuda": CPU})
    choice = runtimes.choose(FAST)
    assert choice.runtime == "cuda"
    assert choice.where == "CUDA in FP32 on Test GPU"
    assert choice.use is not None
    assert choice.use.batch in probe.BATCHES
    assert choice.use.instances >= 2
    # What was measured is remembered: the next start waits for nothing.
    monkeypatch.setattr(trial.subprocess, "Popen", None)
    assert runtimes.choose(FAST) == choice
    use.forget(choice.use)
    assert use._remembered(use._record_path(FAST, GPUS[:1], "cuda", "fp32")) is None
    # Another driver is another measurement.
    other = [replace(gpu, driver="590") for gpu in GPUS]
    assert use._record_path(FAST, GPUS, "cuda", "fp32") != use._record_path(
        FAST, tuple(other), "cuda", "fp32"
    )
    assert not warnings(caplog)


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


class _Runtime:
    """ONNX Runtime as it is where CUDA does not load: it goes on with the CPU."""

    SessionOptions = onnxruntime.SessionOptions

    def __init__(self, claims: list[str]) -> None:
        self.claims = claims
        self.OrtValue = SimpleNamespace(ortvalue_from_shape_and_type=self._allocate)

    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", CPU]

    def _allocate(self, shape: Any, kind: Any, *_: object) -> Any:
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, kind, "cpu", 0)

    def InferenceSession(self, path: str, options: Any, **_: object) -> Any:  # noqa: N802
        session = onnxruntime.InferenceSession(path, options, providers=[CPU])
        session.get_providers = lambda: self.claims
        return session


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ([CPU], "does not load here"),
        # A list of providers is a wish: what ran is in the profile of the run.
        (["CUDAExecutionProvider", CPU], "CPUExecutionProvider ran the convolutions"),
    ],
)
def test_a_provider_that_did_not_run_is_an_error(
    monkeypatch: pytest.MonkeyPatch, claims: list[str], said: str
) -> None:
    code = load_code("yolov5_face", "gpu_network")
    monkeypatch.setattr(code, "import_runtime", lambda: _Runtime(claims))
    with pytest.raises(RuntimeError, match=said):
        code.GpuNetwork(FAST, provider="CUDAExecutionProvider")


def test_memory_of_shapes_is_bounded_and_no_result_is_another_ones() -> None:
    code = load_code("yolov5_face", "gpu_network")
    network = code.open_network(FAST, provider=CPU)
    plain = open_onnx(FAST, threads=1)
    random = np.random.default_rng(0)
    kept = []
    for step in range(code.KEPT_SHAPES + 3):  # with that of the first run, four too many
        shape = (1 + step % 2, 64, 64 + 32 * (step % 11), 3)
        images = random.integers(0, 256, shape, dtype=np.uint8)
        kept.append((images, network.run(OUTPUTS, {INPUT: images})))
    assert len(network._ready) == code.KEPT_SHAPES
    for images, found in kept:
        for one, other in zip(found, plain.run(OUTPUTS, {INPUT: images}), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


def shapes_by_session(
    monkeypatch: pytest.MonkeyPatch, code: Any
) -> list[tuple[object, tuple[int, ...]]]:
    """Which session is given memory of which shape, as it happens."""
    seen = []

    class Session(onnxruntime.InferenceSession):
        def io_binding(self) -> onnxruntime.IOBinding:
            binding = super().io_binding()
            bind = binding.bind_ortvalue_input

            def noting(name: str, value: onnxruntime.OrtValue) -> None:
                seen.append((self, tuple(value.shape())))
                bind(name, value)

            binding.bind_ortvalue_input = noting
            return binding

    runtime = SimpleNamespace(**vars(onnxruntime) | {"InferenceSession": Session})
    monkeypatch.setattr(code, "import_runtime", lambda: runtime)
    return seen


SHAPES = [(batch, 64, width, 3) for batch in (1, 4) for width in (64, 96)]


@pytest.mark.parametrize("shared", [False, True])
def test_no_session_meets_two_shapes(monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    # CUDA's provider would build the plans of all convolutions again at each change.
    code = load_code("yolov5_face", "gpu_network")
    seen = shapes_by_session(monkeypatch, code)
    network = code.open_network(FAST, provider=CPU)
    if shared:
        network._common = network._session()
    for shape in SHAPES * 3:
        network.run(OUTPUTS, {INPUT: np.zeros(shape, np.uint8)})
    # What was opened once stays: nothing is built again.
    assert [shape for _, shape in seen] == [code.FIRST, *SHAPES]
    met_one = len({id(session) for session, _ in seen}) == len(seen)
    assert met_one is not shared


def test_what_is_kept_makes_room_and_the_last_used_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    code = load_code("yolov5_face", "gpu_network")
    network = code.open_network(
        FAST, provider=CPU, memory_bytes=3 * (code.SESSION_BYTES + (4 << 20))
    )
    assert list(network._ready) == [code.FIRST]
    for shape in SHAPES:
        network.run(OUTPUTS, {INPUT: np.zeros(shape, np.uint8)})
        network.run(OUTPUTS, {INPUT: np.zeros(SHAPES[0], np.uint8)})
    assert list(network._ready) == [*SHAPES[2:], SHAPES[0]]
    # A session that finds too little memory gets that of all others, and fails only then.
    opened, failures = network._open, [RuntimeError("out of memory")]

    def failing(shape: tuple[int, ...]) -> Any:
        if failures:
            raise failures.pop()
        return opened(shape)

    monkeypatch.setattr(network, "_open", failing)
    network.run(OUTPUTS, {INPUT: np.zeros(SHAPES[1], np.uint8)})
    assert list(network._ready) == [SHAPES[1]]
    failures[:] = [RuntimeError("out of memory")] * 2
    with pytest.raises(RuntimeError, match="out of memory"):
        network.run(OUTPUTS, {INPUT: np.zeros(SHAPES[0], np.uint8)})
    network.run(OUTPUTS, {INPUT: np.zeros(SHAPES[0], np.uint8)})


def test_engines_that_are_refused_are_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = load_code("yolov5_face", "gpu_network")
    engines = tmp_path / "engines"
    engines.mkdir()

    def opened(_: Path, **how: Any) -> str:
        if list(how["engines"].glob("*")):
            raise RuntimeError("could not deserialize engine from cache")
        return "built"

    monkeypatch.setattr(code, "GpuNetwork", opened)
    (engines / "old.engine").write_bytes(b"?")
    assert code.open_network(FAST, engines=str(engines)) == "built"

    def refused(_: Path, **how: Any) -> str:
        raise RuntimeError("no TensorRT")

    monkeypatch.setattr(code, "GpuNetwork", refused)
    with pytest.raises(RuntimeError, match="no TensorRT"):
        code.open_network(FAST, engines=str(engines))


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


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("", "the process that tried it died"),
        ("warning\nCUDA error 999\n", "CUDA error 999"),
        (
            "Failed to load a.so with error: libcublas.so.13: cannot open shared object file: No\n"
            "CPU would run",
            "libcublas.so.13: cannot open shared object file; run: pip install",
        ),
        (
            "x with error: libcuda.so.1: cannot open shared object file: No\nCPU would run",
            "libcuda.so.1: cannot open shared object file; install NVIDIA's driver",
        ),
    ],
)
def test_a_failed_trial_is_told_in_one_sentence(stderr: str, reason: str) -> None:
    assert trial._reason(stderr).startswith(reason)


@pytest.mark.parametrize(("runtime", "level"), [("tensorrt", "WARNING"), ("cuda", "INFO")])
def test_a_long_trial_says_for_how_long_and_ends(
    gpu: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    runtime: use.GpuRuntime,
    level: str,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(trial, "_TELLS_S", 0.1)
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nsleep 0.4\necho '{json.dumps(asdict(ANSWER))}'\n")
    python.chmod(0o700)
    monkeypatch.setattr(use, "PROVIDERS", {runtime: CPU})
    monkeypatch.setattr(use.sys, "executable", str(python))
    assert use.find_use(FAST, GPUS[:1], [runtime], cores=2).batch == ANSWER.batch
    first, *others = [r for r in caplog.records if r.name.startswith(use.logger.name[:-4])]
    assert others
    assert first.getMessage().endswith(", once")
    for each in others:
        assert re.fullmatch(r".* fast on Test GPU.*: \d+ s so far", each.getMessage())
    assert {each.levelname for each in (first, *others)} == {level}


def test_a_trial_hands_on_long_texts_and_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trial, "_TELLS_S", 0.1)
    # More than a pipe holds, with times in between at which nothing comes.
    slow = (
        "import sys, time; time.sleep(0.3); text = sys.stdin.read(); time.sleep(0.3); print(text)"
    )
    how: Any = {"what": "a test", "level": logging.INFO}
    question = "?" * 200_000
    answer = trial.answer_of([sys.executable, "-c", slow], question, timeout_s=60, **how)
    assert answer.strip() == question
    start = time.monotonic()
    with pytest.raises(trial.GpuUnusableError, match=r"did not answer in 0\.3 s"):
        trial.answer_of(["sleep", "60"], "", timeout_s=0.3, **how)
    assert time.monotonic() - start < 30
    with pytest.raises(trial.GpuUnusableError, match=r"cannot be tried: .*nowhere"):
        trial.answer_of(["/nowhere"], "", timeout_s=60, **how)


@pytest.mark.parametrize("numbers", ["first", "0,0", "-1", ""])
def test_gpus_are_named_by_numbers(numbers: str) -> None:
    result = CliRunner().invoke(main, ["serve", "--gpu", numbers])
    assert result.exit_code == 3
    assert "give numbers of GPUs, such as 0 or 0,1" in str(result.stderr)


def test_memory_of_a_gpu_is_bounded(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use, "_tried", lambda *_: replace(ANSWER, instances=8))
    for gib, instances, each in ((80, 8, 4), (24, 4, 3), (16, 2, 4), (4, 2, 1)):
        gpu = replace(GPUS[0], memory_bytes=gib << 30)
        found = use.find_use(FAST, [gpu], ["cuda"], cores=8)
        assert (found.instances, found.memory_bytes >> 30) == (instances, each)


def test_a_measurement_says_batch_and_instances() -> None:
    assert probe.chosen_batch({1: 300.0, 2: 500.0, 4: 560.0, 8: 600.0}) == 4
    assert probe.chosen_batch({1: 600.0, 2: 500.0}) == 1
    assert probe.chosen_fill({1: 277.0, 8: 1672.0}, 8) == 2
    assert probe.chosen_fill({1: 300.0, 8: 600.0}, 8) == 4
    assert probe.chosen_fill({1: 300.0}, 1) == 2
    # One decodes while three others compute; no more than cores, and two at least.
    assert probe.chosen_instances(0.0005, 0.0015, 16) == 4
    assert probe.chosen_instances(0.0005, 0.0015, 3) == 3
    assert probe.chosen_instances(0.01, 0.0001, 1) == 2


@pytest.mark.parametrize(
    ("visible", "names"),
    [(None, "AB"), ("1", "B"), ("1,0", "BA"), ("", ""), ("-1", ""), ("0,7,1", "A"), ("GPU-b", "B")],
)
def test_gpus_are_those_that_cuda_shows(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, names: str
) -> None:
    pairs = [(f"GPU-{name.lower()}", Gpu(i, name, "580", 1)) for i, name in enumerate("AB")]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = list(gpus._visible(pairs))
    assert "".join(gpu.name for gpu in found) == names
    assert [gpu.index for gpu in found] == list(range(len(found)))
