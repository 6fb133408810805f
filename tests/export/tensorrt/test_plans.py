"""Plans build for every variant and batch size, and run only where they belong.

TensorRT-RTX builds with the same parser and on any machine, so it stands for TensorRT here.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import pytest

from faceblur.detection.letterbox import canonical_shapes
from faceblur.errors import ModelError, OutputError
from faceblur_export.network import VARIANTS, build
from faceblur_export.onnx import export_onnx
from faceblur_export.onnx_graph.detector import detector_graph
from faceblur_export.onnx_graph.half_precision import to_half
from faceblur_export.tensorrt import builders as tensorrt_builders
from faceblur_export.tensorrt import gpu as gpu_module
from faceblur_export.tensorrt.builders import Profile, PythonBuilder, TrtexecBuilder
from faceblur_export.tensorrt.gpu import Gpu
from faceblur_export.tensorrt.plan import (
    PlanManifest,
    PlanOptions,
    build_plan,
    check_plan,
    manifest_path,
    profiles_for,
)

A10 = Gpu("NVIDIA A10", "8.6")
T4 = Gpu("Tesla T4", "7.5")
CARD = {"name": "test", "weights_sha256": "0" * 64, "licence": "GPL-3.0-or-later"}
EVERY_BATCH = Profile((1, 64, 64, 3), (4, 384, 640, 3), (8, 640, 640, 3))
BATCH_OF_8 = Profile((8, 128, 192, 3), (8, 128, 192, 3), (8, 128, 192, 3))
"""While the batch is free, TensorRT takes a fixed dimension for it; at a batch of 8 it shows."""


@pytest.fixture(scope="module")
def rtx() -> PythonBuilder:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX exists for Linux x86-64 alone")
    return PythonBuilder("tensorrt_rtx", target=A10)


@pytest.fixture(scope="module")
def detector(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return export_onnx(shared / "weights" / "yolov5n-0.5-face.pt", output).path


@pytest.fixture(scope="module")
def built(
    rtx: PythonBuilder, detector: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, PlanManifest, list[float | None]]:
    folder = tmp_path_factory.mktemp("plan") / "new folder"
    shares: list[float | None] = []
    manifest = build_plan(detector, folder, PlanOptions(rtx, A10, size=64), shares.append)
    return folder / "model.plan", manifest, shares


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_builds_for_batches_of_1_to_8(variant: str, rtx: PythonBuilder) -> None:
    graph = detector_graph(build(variant), **CARD)
    to_half(graph)
    assert rtx.build(graph.SerializeToString(), [EVERY_BATCH], lambda _: None)


@pytest.mark.parametrize("variant", ["yolov5n-0.5", "yolov5s", "yolov5n6", "yolov5s6"])
def test_nothing_in_the_graph_is_fixed_to_one_batch(variant: str, rtx: PythonBuilder) -> None:
    content = detector_graph(build(variant), **CARD).SerializeToString()
    assert rtx.build(content, [BATCH_OF_8], lambda _: None)


def test_a_reshape_to_a_fixed_batch_is_caught(rtx: PythonBuilder, detector: Path) -> None:
    model = onnx.load(detector)
    (shape,) = [c for c in model.graph.initializer if c.name == "row_shape"]
    fixed = onnx.numpy_helper.to_array(shape).copy()
    fixed[0] = 1
    shape.CopyFrom(onnx.numpy_helper.from_array(fixed, shape.name))
    with pytest.raises(ModelError, match=r"TensorRT cannot build the plan: .*1 and 8"):
        rtx.build(model.SerializeToString(), [BATCH_OF_8], lambda _: None)


def test_a_file_that_is_no_model_is_refused(rtx: PythonBuilder) -> None:
    with pytest.raises(ModelError, match="TensorRT cannot read the model"):
        rtx.build(b"no model", [EVERY_BATCH], lambda _: None)


@pytest.mark.parametrize("stride", [32, 64])
def test_profiles_cover_every_canonical_shape_and_batch(stride: int) -> None:
    every, *each = profiles_for(640, stride)
    assert every.smallest == (1, stride, stride, 3)
    assert every.largest == (8, 640, 640, 3)
    assert len(each) == 5
    for profile in each:
        assert profile.smallest[1:] == profile.best[1:] == profile.largest[1:]
        assert (profile.smallest[0], profile.largest[0]) == (1, 8)
        assert all(side % stride == 0 for side in profile.best[1:3])


def chosen(profiles: Sequence[Profile], shape: tuple[int, int], batch: int, *, off: bool) -> int:
    """The profile that Triton's backend takes for a batch.

    Args:
        profiles: Those of the plan.
        shape: Height and width.
        batch: Images.
        off: Compare every best side but the batch with the one before it, as the backend does.
    """
    dims = (batch, *shape, 3)
    distances = {}
    for number, profile in enumerate(profiles):
        bounds = zip(profile.smallest, dims, profile.largest, strict=True)
        if all(low <= side <= high for low, side, high in bounds):
            pairs = zip(profile.best[1:], dims[:-1] if off else dims[1:], strict=True)
            distances[number] = abs(profile.best[0] - batch) + sum(abs(a - b) for a, b in pairs)
    return min(distances, key=lambda number: distances[number])


@pytest.mark.parametrize(
    ("size", "stride"), [(640, 32), (640, 64), (1280, 32), (96, 32), (416, 32)]
)
def test_every_canonical_shape_gets_its_own_profile(size: int, stride: int) -> None:
    profiles = profiles_for(size, stride)
    shapes = canonical_shapes(size=size, stride=stride)

    def found(profiles: Sequence[Profile], *, off: bool) -> list[list[int]]:
        return [
            [chosen(profiles, shape, batch, off=off) for batch in (1, 2, 4, 8)] for shape in shapes
        ]

    own = [[number + 1] * 4 for number in range(len(shapes))]
    assert found(profiles, off=True) == found(profiles, off=False) == own
    assert chosen(profiles, (stride, stride), 1, off=True) == 0
    # With the best shape of the first canonical one in place of its own, none is ever taken.
    usual = replace(profiles[0], best=(4, *shapes[0], 3))
    assert found([usual, *profiles[1:]], off=True) != own


def test_manifest_says_what_the_plan_is(
    built: tuple[Path, PlanManifest, list[float | None]], rtx: PythonBuilder, detector: Path
) -> None:
    plan, manifest, shares = built
    assert json.loads(manifest_path(plan).read_text()) == manifest.__dict__
    assert manifest_path(plan).name == "model.plan.json"
    assert manifest.precision == "fp16"
    assert (manifest.gpu, manifest.compute_capability) == ("NVIDIA A10", "8.6")
    assert (manifest.runtime, manifest.tensorrt_version) == ("tensorrt_rtx", rtx.version)
    assert manifest.onnx == str(detector)
    assert check_plan(plan, builder=rtx, gpus=[A10, A10]) == manifest
    assert shares == sorted(shares)
    assert 0.5 < shares[-1] <= 1


@dataclass(frozen=True)
class OtherTensorRT:
    runtime: str
    version: str

    def build(self, onnx: bytes, profiles: Sequence[Profile], progress: object) -> bytes:
        raise AssertionError


def copy_of(plan: Path, folder: Path) -> Path:
    for path in (plan, manifest_path(plan)):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder / plan.name


@pytest.mark.parametrize(
    ("gpus", "runtime", "version", "reason"),
    [
        ([T4], "tensorrt_rtx", None, r"for NVIDIA A10 .*8\.6.* machine has Tesla T4 .*7\.5"),
        ([A10, T4], "tensorrt_rtx", None, "machine has Tesla T4"),
        ([replace(A10, name="NVIDIA A40")], "tensorrt_rtx", None, "machine has NVIDIA A40"),
        ([A10], "tensorrt_rtx", "99.1.2", r"this machine has tensorrt_rtx 99\.1\.2"),
        ([A10], "tensorrt", None, r"built by tensorrt_rtx .* this machine has tensorrt "),
    ],
)
def test_plan_of_another_machine_is_refused(
    built: tuple[Path, PlanManifest, list[float | None]],
    gpus: list[Gpu],
    runtime: str,
    version: str | None,
    reason: str,
) -> None:
    plan, manifest, _ = built
    here = OtherTensorRT(runtime, version or manifest.tensorrt_version)
    with pytest.raises(ModelError, match=reason) as caught:
        check_plan(plan, builder=here, gpus=gpus)
    command = str(caught.value).partition("build it again with: ")[2]
    words = ["faceblur-export", "tensorrt", manifest.onnx, "--output", str(plan.parent)]
    assert shlex.split(command)[:5] == words


def test_only_the_first_three_numbers_of_a_version_count(
    built: tuple[Path, PlanManifest, list[float | None]],
) -> None:
    plan, manifest, _ = built
    release = ".".join(manifest.tensorrt_version.split(".")[:3])
    check_plan(plan, builder=OtherTensorRT("tensorrt_rtx", release), gpus=[A10])


def test_changed_files_are_refused(
    built: tuple[Path, PlanManifest, list[float | None]], rtx: PythonBuilder, tmp_path: Path
) -> None:
    plan = copy_of(built[0], tmp_path)
    with plan.open("ab") as file:
        file.write(b"!")
    with pytest.raises(ModelError, match="not the plan that its manifest describes"):
        check_plan(plan, builder=rtx, gpus=[A10])

    plan = copy_of(built[0], tmp_path)
    source = tmp_path / "model.onnx"
    source.write_bytes(b"another model")
    text = manifest_path(plan).read_text().replace(built[1].onnx, str(source))
    manifest_path(plan).write_text(text)
    with pytest.raises(ModelError, match="has changed since"):
        check_plan(plan, builder=rtx, gpus=[A10])

    manifest_path(plan).write_text("{}")
    with pytest.raises(ModelError, match="cannot be read; build it with: faceblur-export tensorrt"):
        check_plan(plan, builder=rtx, gpus=[A10])
    manifest_path(plan).unlink()
    with pytest.raises(ModelError, match="has no manifest"):
        check_plan(plan, builder=rtx, gpus=[A10])
    plan.unlink()
    with pytest.raises(ModelError, match="there is no plan"):
        check_plan(plan, builder=rtx, gpus=[A10])


def test_unfit_input_builds_nothing(rtx: PythonBuilder, detector: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    onnx.save(onnx.helper.make_model(onnx.GraphProto()), tmp_path / "empty.onnx")
    options = PlanOptions(rtx, A10)
    for name, reason in (
        ("text.onnx", "not an ONNX file"),
        ("empty.onnx", "not a faceblur detector"),
        ("absent.onnx", "cannot read"),
    ):
        with pytest.raises(ModelError, match=reason):
            build_plan(tmp_path / name, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match="cannot make the folder"):
        build_plan(detector, tmp_path / "text.onnx" / "out", options)


TRTEXEC = """#!PYTHON
import pathlib, sys
print("&&&& RUNNING TensorRT.trtexec [TensorRT v101303] # trtexec")
print("  --stronglyTyped  Create a strongly typed network")
pathlib.Path(__file__).with_name("arguments").write_text("\\n".join(sys.argv[1:]))
for argument in sys.argv[1:]:
    if argument.startswith("--saveEngine="):
        FAIL
        pathlib.Path(argument.split("=", 1)[1]).write_bytes(b"the plan")
"""


def trtexec(folder: Path, *, fail: str = "") -> TrtexecBuilder:
    """A stand-in that notes how it is called: the real one needs a GPU."""
    command = folder / "trtexec"
    command.write_text(TRTEXEC.replace("FAIL", fail).replace("PYTHON", sys.executable))
    command.chmod(0o755)
    return TrtexecBuilder(str(command))


def test_trtexec_gets_model_types_and_profiles(tmp_path: Path) -> None:
    builder = trtexec(tmp_path)
    assert (builder.runtime, builder.version) == ("tensorrt", "10.13.3")
    calls: list[float | None] = []
    assert builder.build(b"model", profiles_for(640, 32), calls.append) == b"the plan"
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert "--stronglyTyped" in arguments
    first = arguments.index("--profile=0")
    assert arguments[first : first + 5] == [
        "--profile=0",
        "--minShapes=images:1x32x32x3",
        "--optShapes=images:4x640x352x3",
        "--maxShapes=images:8x640x640x3",
        "--profile=1",
    ]
    assert calls == [None, None]


def test_trtexec_that_fails_says_why(tmp_path: Path) -> None:
    builder = trtexec(tmp_path, fail="sys.exit('[E] Error: out of memory')")
    with pytest.raises(ModelError, match="out of memory"):
        builder.build(b"model", profiles_for(64, 32), lambda _: None)
    with pytest.raises(ModelError, match="cannot run"):
        TrtexecBuilder(str(tmp_path / "absent"))


def test_machine_without_tensorrt_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> None:
        raise ImportError

    monkeypatch.setattr(tensorrt_builders, "PythonBuilder", absent)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelError, match=r"container, or run: pip install"):
        tensorrt_builders.find_builder()
    found = trtexec(tmp_path)
    assert tensorrt_builders.find_builder().version == found.version


@pytest.mark.parametrize(
    ("script", "reason"),
    [("exit 9", "does not answer"), ("echo No devices were found", "lists no GPU")],
)
def test_driver_without_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelError, match="no NVIDIA driver"):
        gpu_module.gpus()
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    with pytest.raises(ModelError, match=reason):
        gpu_module.gpus()


def test_gpus_as_the_driver_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text('#!/bin/sh\necho "NVIDIA A10, 8.6"; echo "Tesla T4, 7.5"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_module.gpus() == [A10, T4]
