"""Compose's step before Triton: files up to date, and a plan built only where none fits."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from addresses import unanswered
from click.testing import CliRunner
from google.protobuf import text_format
from resolved_compose import ROOT, command_of, resolve
from tritonclient.grpc import model_config_pb2

from faceblur.detection.repository import model_repository, shipped_onnx
from faceblur.errors import ModelError
from faceblur.files import file_sha256
from faceblur_export.cli import main
from faceblur_export.gate.record import GateRecord, Loss, record_path, write_record
from faceblur_export.tensorrt import builders as tensorrt_builders
from faceblur_export.tensorrt import gpu as gpu_module
from faceblur_export.tensorrt.builders import Profile
from faceblur_export.tensorrt.gpu import Gpu
from faceblur_export.weights import download
from faceblur_export.weights.known import KNOWN

A10 = Gpu("NVIDIA A10", "8.6")
T4 = Gpu("Tesla T4", "7.5")
INT8 = {
    "precision": "int8",
    "calibration": "frames",
    "calibration_frames": "9",
    "calibration_sha256": "0",
}


class CountedBuilder:
    """TensorRT as far as files go, and how often it was asked to build."""

    runtime, version = "tensorrt", "10.16.0"

    def __init__(self) -> None:
        self.builds = 0

    def build(self, onnx: bytes, profiles: Sequence[Profile], progress: Any) -> bytes:
        self.builds += 1
        return b"the plan"


def machine_with(monkeypatch: pytest.MonkeyPatch, gpu: Gpu) -> CountedBuilder:
    """A machine with a GPU."""
    builder = CountedBuilder()
    monkeypatch.setattr(tensorrt_builders, "find_builder", lambda: builder)
    monkeypatch.setattr(gpu_module, "gpus", lambda: [gpu])
    return builder


def run(service: str, profile: str, models: Path, **settings: str) -> str:
    """Run the step's own command, with a folder in place of its volume and small images."""
    program, *words = command_of(resolve(profile, SIZE="64", **settings)[service])
    assert program == "faceblur-export"
    done = CliRunner().invoke(main, [w.replace("=/models", f"={models}") for w in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_plan_is_built_once_for_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    plan = models / "yolov5_face" / "1" / "model.plan"
    decoding = models / "face_postprocess" / "1" / "face_decoding.py"

    here = machine_with(monkeypatch, A10)
    run("repository", "gpu", models)
    first = plan.read_bytes()
    decoding.write_text("of an older release")
    run("repository", "gpu", models)
    assert here.builds == 1
    assert plan.read_bytes() == first
    # All else is brought up to date.
    shipped = model_repository() / "face_postprocess" / "1" / "face_decoding.py"
    assert decoding.read_bytes() == shipped.read_bytes()

    plan.write_bytes(first[:-1])
    run("repository", "gpu", models)
    assert here.builds == 2

    elsewhere = machine_with(monkeypatch, T4)
    run("repository", "gpu", models)
    assert elsewhere.builds == 1


def served(models: Path) -> str:
    path = models / "yolov5_face" / "config.pbtxt"
    config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    return config.parameters["model_name"].string_value


def test_official_weights_are_served_where_they_can_be_fetched(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine_with(monkeypatch, A10)
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    monkeypatch.setenv("FACEBLUR_CACHE", str(tmp_path / "weights"))
    name, models = "yolov5n-0.5-face", tmp_path / "models"

    def address(url: str) -> None:
        monkeypatch.setitem(KNOWN, name, replace(KNOWN[name], url=url))

    def both_steps(model: str) -> str:
        caplog.clear()
        for step in ("weights", "repository"):
            run(step, "gpu", models, MODEL=model)
        return caplog.text

    with unanswered() as nowhere:
        address(f"http://{nowhere}/{name}.pt")
        said = both_steps(name)
    assert "could not fetch http://127.0.0.1" in said
    assert "serving the bundled model instead" in said
    assert served(models) == "bundled"
    assert "bundled model" not in both_steps("bundled")

    # What comes must be what was published.
    (tmp_path / "else.pt").write_bytes(b"something else")
    address((tmp_path / "else.pt").as_uri())
    assert "SHA-256" in both_steps(name)
    assert served(models) == "bundled"

    address((shared / "weights" / f"{name}.pt").as_uri())
    assert "bundled" not in both_steps(name)
    assert served(models) == name
    # A slip of the pen is no missing network.
    typo = CliRunner().invoke(main, ["weights", "pull", "yolov5x", "--or-bundled"])
    assert typo.exit_code == ModelError.exit_code


def queue_bounds(models: Path) -> set[int]:
    """How many requests the queues of a repository hold; 0 is any number."""
    configs = [
        text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        for path in [*models.glob("*/config.pbtxt"), *models.glob("*/configs/*.pbtxt")]
    ]
    batched = [config.dynamic_batching for config in configs if config.platform != "ensemble"]
    assert all(each.default_queue_policy.default_timeout_microseconds for each in batched)
    files = {each.priority_queue_policy[2].max_queue_size for each in batched}
    return {each.default_queue_policy.max_queue_size for each in batched} | files


def test_a_board_gets_queues_and_instances_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = machine_with(monkeypatch, Gpu("Orin", "8.7"))
    bounds = {}
    for service, profile in (("repository", "gpu"), ("repository-jetson", "jetson")):
        for _ in range(2):
            run(service, profile, tmp_path / profile)
        bounds[profile] = queue_bounds(tmp_path / profile)
        path = tmp_path / profile / "yolov5_face" / "config.pbtxt"
        config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        (group,) = config.instance_group
        assert group.count == (2 if profile == "jetson" else 3)
    assert bounds == {"gpu": {64, 256}, "jetson": {0}}
    assert board.builds == 2


def test_int8_is_built_on_a_board_once_it_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = machine_with(monkeypatch, Gpu("Orin", "8.7"))
    overlay = ROOT / "deploy" / "jetson" / "int8.yaml"
    service = resolve("jetson", on_top=overlay, SIZE="64")["repository-jetson"]
    assert "/int8" in {volume["target"] for volume in service["volumes"]}
    places = {"=/models": f"={tmp_path / 'models'}", "=/int8": f"={tmp_path}"}
    words = command_of(service)[1:]
    for inside, outside in places.items():
        words = [word.replace(inside, outside) for word in words]

    network = onnx.load(shipped_onnx())
    onnx.helper.set_model_props(network, {"name": "x", "variant": "x", "stride": "32"} | INT8)
    model = tmp_path / "int8.onnx"
    onnx.save(network, model)
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == ModelError.exit_code
    assert "has not passed the accuracy gate" in refused.stderr
    assert board.builds == 0

    loss = Loss("AP50", 99, 0.8, 0.8, 0.01, 0.0, 0.0, passed=True)
    record = GateRecord("x", file_sha256(model), "int8", "0", "x", 9, 640, 0.2, (loss,))
    write_record(record_path(model), record)
    for _ in range(2):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
    assert board.builds == 1
    assert queue_bounds(tmp_path / "models") == {0}


def test_without_a_gpu_no_plan_is_built(tmp_path: Path) -> None:
    for _ in range(2):
        assert "onnxruntime" in run("repository-cpu", "cpu", tmp_path / "models")
    assert not list(tmp_path.rglob("*.plan"))
    assert (tmp_path / "models" / "yolov5_face" / "configs" / "onnxruntime.pbtxt").is_file()


class Driver:
    """In place of libcuda: one GPU of a Jetson, or a failure."""

    def __init__(self, *, fails: str = "", count: int = 1) -> None:
        self._fails, self._count = fails, count

    def __getattr__(self, function: str) -> Any:
        def call(*arguments: Any) -> int:
            if function == self._fails:
                return 100
            if function == "cuDeviceGetCount":
                arguments[0]._obj.value = self._count
            if function == "cuDeviceGetName":
                ctypes.memmove(arguments[0], b"Orin\0", 5)
            if function == "cuDeviceGetAttribute":
                arguments[0]._obj.value = {75: 8, 76: 7}[arguments[1]]
            return 0

        return call


@pytest.mark.parametrize("output", ["[N/A], [N/A]", None])
def test_a_jetson_is_known_by_its_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpu_module.ctypes, "CDLL", lambda _: Driver())
    if output is not None:
        command = tmp_path / "nvidia-smi"
        command.write_text(f"#!/bin/sh\necho '{output}'\n")
        command.chmod(0o755)
    assert gpu_module.gpus() == [Gpu("Orin", "8.7")]


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (Driver(fails="cuInit"), r"cuInit gives error 100.*may use the GPU"),
        (Driver(count=0), "lists no GPU"),
    ],
)
def test_a_driver_without_a_gpu_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: Driver, reason: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpu_module.ctypes, "CDLL", lambda _: driver)
    with pytest.raises(ModelError, match=reason):
        gpu_module.gpus()
