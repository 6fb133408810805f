"""The benchmark of a GPU, by the same code on the CPU."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from waiting import until

from benchmarks.analyzer.compare import Run, side_by_side
from benchmarks.analyzer.points import Case, Point
from benchmarks.analyzer.tool import AnalyzerError
from benchmarks.gpu import agreement, bench, fatbin, pytorch
from benchmarks.gpu.command import _Plan, gpu
from benchmarks.gpu.devices import Device, cpu_device
from benchmarks.gpu.load import reading
from benchmarks.gpu.networks import lay_out
from benchmarks.gpu.watch import watching
from faceblur.detections import Detections
from faceblur.gpus import Gpu

IMAGE = Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("gpu") / "run"
    words = [str(IMAGE), "--runtime=trial", "--network=fast", "--short", "--generator=own"]

    def is_whole() -> bool:
        """A pause of the machine as long as a measurement leaves that out."""
        result = CliRunner().invoke(gpu, [*words, "--output", str(output)])
        notes.append(result.output)
        found = json.loads(output.with_suffix(".json").read_text())
        return result.exit_code == 0 and len(found["points"]) >= 2 and bool(found["cameras"])

    notes: list[str] = []
    until(is_whole, "all loads are measured", within_s=300, seen=notes)
    return output


def test_a_short_run_finds_the_faces_and_measures_everything(run: Path) -> None:
    found = json.loads(run.with_suffix(".json").read_text())
    assert {a["precision"]: (a["faces"], a["same"]) for a in found["agreement"]} == {
        "fp16": (1, True),
        "fp32": (1, True),
    }
    assert {(r["precision"], r["batch"]) for r in found["raw"]} == {
        (precision, batch) for precision in ("fp16", "fp32") for batch in (1, 2)
    }
    loads = [p["case"] for p in found["points"]]
    assert all(case["precision"] == "fp16" and case["transport"] == "shm" for case in loads)
    assert any(case["concurrency"] == 2 for case in loads)
    assert any(case["cameras"] for case in loads)
    assert [(h["fps"], h["network"]) for h in found["cameras"]] == [(1.0, "fast")]
    assert found["card"]["fast"].startswith("yolov5n-0.5, shipped weights, sha256 ")
    page = run.with_suffix(".md").read_text()
    assert "| fast | fp16 | the GPU's code on the CPU | 1 | 1 | 0 | 0 |" in page
    assert run.with_suffix(".png").stat().st_size > 1000


def test_it_is_set_beside_a_run_of_a_cpu(run: Path, tmp_path: Path) -> None:
    document = json.loads(run.with_suffix(".json").read_text())
    document["kind"] = "perf_analyzer"
    for point in document["points"]:
        point["case"] |= {"precision": "", "runtime": ""}
        point["frames_per_s"] /= 2
    other = tmp_path / "cpu.json"
    other.write_text(json.dumps(document))
    text = side_by_side(Run.read(other), Run.read(run.with_suffix(".json")))
    assert "| fast → fast fp16 the GPU's code on the CPU | ensemble | shm | 640×" in text
    assert "| 2.00 | 1.00 | 1.00 | 1.00 |" in text


def test_what_finds_other_faces_is_refused(tmp_path: Path) -> None:
    networks = lay_out("fast", ("fp32", "fp16"), tmp_path)
    canvases = [np.zeros((64, 64, 3), np.uint8)]
    device = replace(cpu_device(), runtime="trial")
    one = face(10, score=0.9)
    for found, verdict in (
        ([one], (0, 0, True)),
        ([], (1, 0, False)),
        ([one, face(40, score=0.2)], (0, 1, False)),
        ([one, face(40, score=0.15)], (0, 0, True)),
        ([face(17, score=0.9)], (1, 1, False)),
    ):
        answers = iter([[Detections.from_rows([one])], [Detections.from_rows(found)]])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(agreement, "find", lambda *_: next(answers))  # noqa: B023
            judged = agreement.compare(device, networks["fp32"], networks["fp16"], canvases)
        assert (judged.missed, judged.added, judged.same) == verdict


def face(x: float, *, score: float) -> list[float]:
    return [x, 10, x + 10, 22, score, *([x + 5, 15] * 5)]


def test_the_most_cameras_in_time_are_found(tmp_path: Path) -> None:
    for limit in (5, 37, 400):
        served = Served(limit)
        bench._Served.hold_cameras(served, 30.0, most=100)  # type: ignore[arg-type]
        held = served.bench.results.held[0]
        assert held.cameras <= limit
        assert held.cameras >= min(limit * 0.75, 120), held
        assert held.refused is None or held.refused > limit


class Served:
    """A server that holds so many cameras."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.bench = SimpleNamespace(results=SimpleNamespace(held=[]), scope=bench.Scope())
        self.network = SimpleNamespace(name="n", precision="fp16")
        self.device = SimpleNamespace(name="CUDA")

    def _point(self, *, cameras: int, fps: float) -> Point | None:
        if cameras > 10 * self._limit:
            return None  # it refuses
        case = Case(model="n", shape="", topology="", cameras=cameras, fps=fps)
        p99 = 20.0 if cameras <= self._limit else 40.0
        return Point(
            case=case, frames_per_s=cameras * fps, p50_ms=1, p90_ms=1, p95_ms=1, p99_ms=p99
        )


def test_frames_that_are_late_or_lost_are_not_held() -> None:
    case = Case(model="n", shape="", topology="", cameras=10, fps=30.0)
    point = Point(case=case, frames_per_s=299, p50_ms=1, p90_ms=1, p95_ms=1, p99_ms=33)
    assert bench._in_time(point)
    assert not bench._in_time(replace(point, p99_ms=34))
    assert not bench._in_time(replace(point, frames_per_s=290))


def test_only_what_is_answered_in_time_counts() -> None:
    answers = np.array([(9.9, 5.0), (10.0, 0.010), (10.5, 0.020), (11.4, 0.030), (11.5, 5.0)])
    found = reading(answers, start=10.0, seconds=1.5, batch=4)
    assert found.frames_per_s == pytest.approx(3 * 4 / 1.5)
    assert (found.p50_ms, found.windows) == (pytest.approx(20), (8.0, 8.0, 8.0))
    with pytest.raises(AnalyzerError, match="no request was answered"):
        reading(answers, start=20.0, seconds=1.5, batch=4)


def test_without_a_gpu_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    for words in ([], ["--runtime", "cuda"]):
        result = CliRunner().invoke(gpu, [str(IMAGE), *words, "--output", str(tmp_path / "a")])
        assert result.exit_code == 1
        assert "no NVIDIA GPU is here; give --runtime cpu" in result.output


def test_a_run_out_of_time_says_what_it_left_out(tmp_path: Path) -> None:
    words = [str(IMAGE), "--runtime=trial", "--network=fast", "--seconds=1"]
    result = CliRunner().invoke(gpu, [*words, "--output", str(tmp_path / "a")])
    assert result.exit_code == 1
    assert "nothing was measured" in result.output
    assert "left out, the time was over" in (tmp_path / "a.md").read_text()


def test_what_matters_most_comes_first(tmp_path: Path) -> None:
    device = Device("cuda", Gpu(0, "NVIDIA L4", "580", 24 << 30))
    some = SimpleNamespace(scope=bench.Scope())
    plan = _Plan(some, [device], tmp_path, ("fp16", "fp32"), 3, short=False)  # type: ignore[arg-type]
    names = [step.name for step in plan.steps(["fast", "s"])]
    assert names[:3] == [
        "CUDA against the CPU, fast",
        "CUDA against the CPU, s",
        "CUDA behind Triton, fast fp16, 3 instances",
    ]
    served = [name for name in names if "behind Triton" in name]
    assert served[:3] == [
        "CUDA behind Triton, fast fp16, 3 instances",
        "CUDA behind Triton, s fp16, 3 instances",
        "CUDA behind Triton, fast fp32, 3 instances",
    ]
    assert "CPU behind Triton, fast fp32, 3 instances" in served


def test_pytorch_runs_the_same_network(tmp_path: Path) -> None:
    network = lay_out("fast", ("fp32",), tmp_path)["fp32"]
    found = list(pytorch.measure(network, batches=(1, 2), shape=(64, 64), seconds=0, device="cpu"))
    assert [(raw.network, raw.batch, raw.images_per_s > 0) for raw in found] == [
        ("fast", 1, True),
        ("fast", 2, True),
    ]


def test_a_gpu_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '50, 1000, 100.5, 1980'\necho '[N/A], 1, 2, 3'\n"
                       "echo '70, 900, 101.5, 1980'\nexec sleep 600\n")  # fmt: skip
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with watching(0) as watch:
        until(lambda: len(watch.samples) == 2, "two samples")
    assert watch.summary()["gpu_utilisation_percent"] == 60
    watch.begin()
    assert watch.summary() == {}
    watch.samples.append((80, 1500, 100, 1980))
    assert watch.summary()["gpu_memory_mib"] == 500
    assert watch.summary()["gpu_utilisation_percent"] == 80


def container(*entries: tuple[int, bytes]) -> bytes:
    """GPU code as a library has it: for each architecture its bytes."""
    body = b""
    for architecture, code in entries:
        words = (2, 1, 64, len(code), 0, 0, 0, architecture, 0, 0, 0, 0)
        header = struct.pack("<HHIQIIIIQQQQ", *words)
        body += header + code
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def test_only_the_code_of_one_gpu_is_carried() -> None:
    library = bytearray(
        b"host" + container((80, b"_Z7resized"), (90, b"_Z7resized"))
        + b"\x50\xed\x55\xba by chance" + container((90, b"_Z9moe_gemmXX"))
    )  # fmt: skip
    assert fatbin.blank(library, architecture=90, without=[b"moe_gemm"]) == (23, 10)
    assert library.count(b"_Z7resized") == 1
    assert b"moe_gemm" not in library
    assert [code.architecture for code in fatbin.codes(library)] == [80, 90, 90]
    with pytest.raises(ValueError, match=r"no code for sm_75, only for: 80, 90"):
        fatbin.blank(library, architecture=75, without=[])


def test_a_device_says_what_it_is() -> None:
    trial = replace(cpu_device(), runtime="trial")
    assert isinstance(trial, Device)
    assert trial.name == "the GPU's code on the CPU"
