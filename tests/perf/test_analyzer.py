"""The benchmark with perf_analyzer: it reads, judges and compares what was measured."""

from __future__ import annotations

import base64
import json
from concurrent.futures import Future
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import yaml
from click.testing import CliRunner

from benchmarks.analyzer import tool as analyzer_tool
from benchmarks.analyzer.compare import Run, compare, side_by_side
from benchmarks.analyzer.frames import canvases, read_frames, write_inputs
from benchmarks.analyzer.graph import write_graph
from benchmarks.analyzer.points import IN_PROCESS, Case, Point, knee, medians
from benchmarks.analyzer.report import judge, write_run
from benchmarks.analyzer.server import TOPOLOGIES, topology_server
from benchmarks.analyzer.tool import AnalyzerError, Load, PerfAnalyzer, arguments, read_report
from benchmarks.serving.clients import TopologyClient
from benchmarks.serving.command import _Work, check_same_faces
from faceblur.detection import decoding as postprocess
from faceblur.detection import models
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.models import INPUT, OUTPUTS, open_onnx
from faceblur.detection.repository import FAST_MODEL, model_repository, shipped_onnx
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.detections import Detections
from faceblur.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "docs" / "images" / "before.jpg"

# Recorded from perf_analyzer of tritonclient 2.50.0 on the embedded server.
REPORT = """\
Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,\
Server Compute Input,Server Compute Infer,Server Compute Output,Client Recv,p50 latency,\
p90 latency,p95 latency,p99 latency,Avg latency,request/response,response wait
4,45.6925,9,45178,2,264,38912,1924,3,77957,132446,149754,171502,86295,12,86271
"""
LOG = """\
Concurrency: 4
  Pass [1] throughput: 43.0799 infer/sec. Avg latency: 88133 usec (std 27381 usec).
  Pass [2] throughput: 46.3416 infer/sec. Avg latency: 86139 usec (std 12926 usec).
  Pass [3] throughput: 47.4365 infer/sec. Avg latency: 84670 usec (std 21532 usec).
"""


def point(rate: float, p50: float, p99: float, *, concurrency: int = 4, **case: Any) -> Point:
    values = {"model": "bundled", "shape": "384×640", "topology": "ensemble", "transport": "shm"}
    return Point(
        case=Case(**{**values, "concurrency": concurrency, **case}),
        frames_per_s=rate,
        p50_ms=p50,
        p90_ms=p50,
        p95_ms=p99,
        p99_ms=p99,
        cpu_ms=19.0,
        stages={
            part: dict(
                queue=0.1, compute_input=0.2, compute_infer=9.0, compute_output=0.3,
                pictures=90, executions=90,
            )
            for part in ("yolov5_face", "face_postprocess")
        },
    )  # fmt: skip


def in_process(rate: float) -> Point:
    return replace(
        point(rate, 45, 60, topology=IN_PROCESS, transport="none"), stages={}, cpu_ms=17.0
    )


def test_a_report_is_read() -> None:
    reading = read_report(REPORT, log=LOG)
    assert (reading.frames_per_s, reading.p50_ms, reading.p99_ms) == (45.6925, 77.957, 171.502)
    assert reading.windows == (43.0799, 46.3416, 47.4365)
    assert reading.columns["Server Compute Infer"] == 38912


@pytest.mark.parametrize("text", ["", REPORT.splitlines()[0], "a,b\n1,2\n"])
def test_a_report_without_a_measurement_is_none(text: str) -> None:
    with pytest.raises(AnalyzerError, match="perf_analyzer"):
        read_report(text)


def test_loads_become_options() -> None:
    load = Load(address="h:1", model="m", data=Path("d"), memory="system", batch=4, concurrency=8)
    words = " ".join(arguments(load))
    assert "-m m -u h:1 -i grpc --async -b 4 --input-data d --concurrency-range 8" in words
    assert "--shared-memory system" in words
    camera = " ".join(arguments(replace(load, memory="none", concurrency=0, rate=22.5)))
    assert "--request-rate-range 22.5" in camera
    assert "--concurrency-range" not in camera
    assert "--shared-memory" not in camera


def program(folder: Path, script: str) -> None:
    path = folder / "perf_analyzer"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_one_on_the_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "echo 'Perf Analyzer Version 2.60.0 (commit 1234)'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert PerfAnalyzer.find(tmp_path / "cache").version() == "2.60.0 from PATH"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("library", "advice"), [("libb64.so.0d", "libb64-0d"), ("libcudart.so.12", "SDK image")]
)
def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, advice: str
) -> None:
    program(tmp_path, f"echo 'error while loading {library}: cannot open shared' >&2; exit 127")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(AnalyzerError, match=f"needs {library}; install it.*{advice}"):
        PerfAnalyzer.find(tmp_path / "cache")


def test_where_none_can_be_had_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyzer_tool, "WHEELS", (str(tmp_path / "tritonclient-2.50.0.whl"),))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AnalyzerError, match="not on the PATH and pip could not fetch it"):
        PerfAnalyzer.find(tmp_path / "cache")


def test_the_knee_is_the_least_load_that_is_nearly_the_best() -> None:
    curve = [point(60, 16, 20, concurrency=1), point(97, 20, 30, concurrency=2), point(100, 40, 90)]
    assert knee(curve).case.concurrency == 2


def test_of_several_rounds_the_median_counts() -> None:
    rounds = [point(rate, 20, 30) for rate in (90, 50, 70)]
    assert [p.frames_per_s for p in medians(rounds)] == [70]


@pytest.mark.parametrize(
    ("rate", "p99", "met"),
    [(96, 70, [True, True]), (94, 70, [True, False]), (96, 81, [False, True])],
)
def test_targets_are_judged(rate: float, p99: float, met: list[bool]) -> None:
    assert list(judge([in_process(100), point(rate, 40, p99)]).values()) == met


def test_frames_reach_the_inputs_file(tmp_path: Path) -> None:
    (canvas,) = canvases(read_frames([IMAGE], frames=4), size=320, stride=32)
    scored = write_inputs(tmp_path / "a.json", [canvas], inputs="scored", min_score=0.2)
    (entry,) = json.loads(scored.read_text())["data"]
    pixels = np.frombuffer(base64.b64decode(entry["images"]["b64"]), np.uint8)
    assert (pixels.reshape(entry["images"]["shape"]) == canvas).all()
    assert entry["min_score"] == {"content": [0.2], "shape": [1]}
    coded = write_inputs(tmp_path / "b.json", [canvas], inputs="jpeg", min_score=0.2)
    (entry,) = json.loads(coded.read_text())["data"]
    value = base64.b64decode(entry["jpeg"]["b64"])
    assert int.from_bytes(value[:4], "little") == len(value) - 4
    assert cv2.imdecode(np.frombuffer(value[4:], np.uint8), 1).shape == canvas.shape


def test_what_is_neither_image_nor_video_is_refused() -> None:
    with pytest.raises(InputError, match="neither an image nor a video"):
        read_frames([Path(__file__)], frames=1)


def test_suppression_in_the_graph_finds_the_same_faces(
    tmp_path: Path, portrait: npt.NDArray[np.uint8]
) -> None:
    face = Letterbox.plan(512, 512, size=320).apply(np.ascontiguousarray(portrait[:, :, ::-1]))
    small = cv2.resize(face, (160, 160))
    # One face, none, five and, with a low threshold, many that are none.
    images = np.stack([face, np.zeros_like(face), np.tile(small, (2, 2, 1)), face])
    images[2, 100:260, 80:240] = small
    scores = np.array([0.2, 0.2, 0.3, 0.001], np.float32)
    write_graph(shipped_onnx(), tmp_path / "model.onnx")
    whole = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    faces, counts = whole.run(
        ("faces", "face_count"), {INPUT: images, "min_score": scores[:, None]}
    )
    parts = open_onnx(shipped_onnx(), threads=1).run(OUTPUTS, {INPUT: images})
    expected = postprocess.find_faces(*parts, scores)
    assert counts[:, 0].tolist() == [len(each) for each in expected]
    assert counts[0] >= 1
    assert counts[1] == 0
    assert counts[3] > counts[0]
    for row, each in zip(faces, expected, strict=True):
        np.testing.assert_allclose(row[: len(each)], each, atol=1e-3)
        assert not row[len(each) :].any()


@pytest.fixture(scope="module")
def image(request: pytest.FixtureRequest) -> npt.NDArray[np.uint8]:
    return canvases(read_frames([IMAGE], frames=1), size=320, stride=32)[0]


def test_all_topologies_find_the_same_faces(image: npt.NDArray[np.uint8]) -> None:
    onnx, model = models.find(FAST_MODEL)
    options = ServerOptions(onnx=onnx, model=model, instances=2, threads=1)
    with topology_server(options) as server:
        clients = {
            (topology.name, batch): TopologyClient(server.address, topology.model, batch=batch)
            for topology in TOPOLOGIES.values()
            for batch in (1, 2)
        }
        work = {
            str(key): _Work(client.send, [image, image[:, ::-1].copy()], 4, batch=key[1])
            for key, client in clients.items()
        }
        assert [len(each) for each in work["('ensemble', 1)"].faces(2)] == [1, 1]
        check_same_faces(work)
        for client in clients.values():
            client.close()


def test_a_contender_that_loses_a_face_is_refused(image: npt.NDArray[np.uint8]) -> None:
    def sender(found: Detections) -> Any:
        def send(images: list[Any]) -> Future[list[Detections]]:
            future: Future[list[Detections]] = Future()
            future.set_result([found] * len(images))
            return future

        return send

    face = Detections.from_rows(np.full((1, 15), 0.5, np.float32))
    good, blind = (_Work(sender(found), [image], 4) for found in (face, Detections.empty()))
    check_same_faces({"a": good, "b": good})
    with pytest.raises(click.ClickException, match="b finds other faces than a"):
        check_same_faces({"a": good, "b": blind})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run, as it is written."""
    cameras = point(15, 20, 30, concurrency=0, cameras=1, fps=15.0)
    points = [in_process(100), point(96, 40, 70), point(50, 20, 30, concurrency=1), cameras]
    card: dict[str, object] = {"processor": "A", "cores": 2, "triton": "2.51.0"}
    write_run(tmp_path / "one", points=points, card=card, command="perf/run", notes=["A note."])
    return tmp_path / "one.json"


def test_a_run_is_written_with_tables_plots_and_card(run: Path) -> None:
    text = run.with_suffix(".md").read_text()
    assert "at least 0.95 of the same work in process: 0.960" in text
    assert "| bundled | 384×640 | ensemble | shm | 1 | 96.0 | 0.960 | 4 | 40.0 | 70.0 |" in text
    assert "- triton: 2.51.0" in text
    assert "A note." in text
    for name in ("curves", "stages", "cameras"):
        assert f"one-{name}.png" in text
        assert cv2.imread(str(run.with_name(f"one-{name}.png"))) is not None


def test_runs_are_set_side_by_side(run: Path, tmp_path: Path) -> None:
    document = json.loads(run.read_text())
    document["points"][1]["frames_per_s"] = 48.0
    document["card"]["triton"] = "2.60.0"
    (tmp_path / "two.json").write_text(json.dumps(document))
    text = side_by_side(Run.read(run), Run.read(tmp_path / "two.json"))
    row = "| bundled | ensemble | shm | 384×640 | 1 | 4 | 96.0 | 48.0 | 0.50 | 1.00 | 1.00 | 1.00 |"
    assert row in text
    assert "- triton: 2.51.0 → 2.60.0" in text


def test_runs_of_different_machines_are_not_compared_unasked(run: Path, tmp_path: Path) -> None:
    document = json.loads(run.read_text())
    document["card"] |= {"processor": "B", "gpu": "H"}
    other = tmp_path / "two.json"
    other.write_text(json.dumps(document))
    refused = CliRunner().invoke(compare, [str(run), str(other)])
    assert refused.exit_code == 1
    assert "different machines (processor: A and B; gpu: none and H)" in refused.output
    allowed = CliRunner().invoke(compare, [str(run), str(other), "--across-machines"])
    assert allowed.exit_code == 0
    assert "Different machines" in allowed.output


def test_a_file_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"rows": []}')
    result = CliRunner().invoke(compare, [str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert result.exit_code == 1
    assert "a.json is no run of: perf/run analyzer" in result.output


MODEL_ANALYZER_KEYS = {
    "checkpoint_directory", "client_protocol", "collect_cpu_metrics", "cpu_only_composing_models",
    "ensemble_composing_models", "export_path", "model_repository", "num_configs_per_model",
    "output_model_repository_path", "override_output_model_repository", "profile_models",
    "run_config_search_max_concurrency", "run_config_search_max_instance_count",
    "run_config_search_max_model_batch_size", "run_config_search_min_instance_count",
    "run_config_search_mode", "triton_docker_image", "triton_docker_shm_size",
    "triton_launch_mode",
}  # fmt: skip
"""Those of ours that Model Analyzer 1.58.0 knows: it read the file. Its wheel brings an empty
perf_analyzer with it, so it is not here."""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["inputs", IMAGE, "--output", "absent/x.json"], "Error: cannot use absent/x.json: No"),
        (["transport", IMAGE, "empty", "--output", "file"], "Error: cannot use file: File exist"),
        (["precision", "empty", "--calibration", "empty"], "run: empty holds no image"),
    ],
)
def test_a_benchmark_that_cannot_be_run_says_so_in_one_sentence(
    words: list[object], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    loader = SourceFileLoader("perf_run", str(ROOT / "perf" / "run"))
    benchmarks = module_from_spec(spec_from_loader("perf_run", loader))  # type: ignore[arg-type]
    loader.exec_module(benchmarks)
    done = CliRunner().invoke(benchmarks.main, [str(word) for word in words], prog_name="run")
    assert done.exit_code != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(sentence)


def test_model_analyzer_is_told_of_our_models_and_our_image() -> None:
    config = yaml.safe_load((ROOT / "perf" / "model_analyzer.yaml").read_text())
    assert set(config) == MODEL_ANALYZER_KEYS
    # It makes no folder above these.
    assert Path(config["checkpoint_directory"]).parent == Path(config["export_path"])
    assert f"mkdir -p {config['export_path']} " in (ROOT / "docs/benchmarking.md").read_text()
    models = [*config["profile_models"], *config["ensemble_composing_models"]]
    assert [name for name in models if not (model_repository() / name).is_dir()] == []
    assert f"TRITON_IMAGE={config['triton_docker_image']}\n" in (ROOT / ".env").read_text()
