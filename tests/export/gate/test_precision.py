"""Models of lower precision: what stays exact, what the gate lets in, and what is built of it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from judged_models import A10, LOSS, copied, gate_record_of, run
from networks import noise_images
from onnx import numpy_helper

from faceblur.detection.repository import shipped_onnx
from faceblur.errors import InputError, ModelError
from faceblur_export.gate import gate
from faceblur_export.gate.record import record_path, require_passed, write_record
from faceblur_export.onnx import export_onnx
from faceblur_export.onnx_graph.calibration import Calibration, read_calibration
from faceblur_export.onnx_graph.int8 import left_single, to_int8
from faceblur_export.repository import fill_repository, plan_path
from faceblur_export.tensorrt.builders import PythonBuilder
from faceblur_export.tensorrt.plan import PlanOptions, build_plan, read_manifest
from faceblur_export.tensorrt.plan_cache import keep_plan

CALIBRATION_FRAMES = 24


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(Path("bundled"), tmp_path_factory.mktemp("fp32") / "fp32.onnx").path


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fp16") / "fp16.onnx"
    return export_onnx(Path("bundled"), path, precision="fp16").path


@pytest.fixture(scope="module")
def frames(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training images, spread over all of them."""
    folder = tmp_path_factory.mktemp("frames")
    found = sorted((shared / "data" / "train").rglob("*.jpg"))
    for index in np.linspace(0, len(found) - 1, CALIBRATION_FRAMES):
        path = found[round(index)]
        (folder / f"{path.parent.name} {path.name}").symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def honest(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    return export_onnx(Path("bundled"), path, precision="int8", calibration=frames).path


# What the graphs are.


def constants(model: Any) -> dict[str, Any]:
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def test_int8_is_symmetric_by_channel_and_leaves_the_heads_alone(honest: Path) -> None:
    model = onnx.load(honest)
    values = constants(model)
    makers = {output: node for node in model.graph.node for output in node.output}
    integer = set()
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = values[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
        if node.op_type != "Conv":
            continue
        sources = [makers.get(name) for name in node.input]
        if sources[1] is not None:
            weights = values[sources[1].input[0]]
            assert weights.dtype == np.int8
            assert values[sources[1].input[1]].shape == weights.shape[:1]
            assert sources[0].op_type == "DequantizeLinear"
            assert sources[2] is None
            assert values[node.input[2]].dtype == np.float32
            integer.add(node.name)
        else:
            assert values[node.input[1]].dtype == np.float32
    single = left_single(onnx.load(shipped_onnx()))
    every = {node.name for node in model.graph.node if node.op_type == "Conv"}
    assert integer == every - single
    assert {name for name in every if "model_21" in name} <= single
    assert len(integer) > len(every) / 2


@pytest.mark.parametrize("precision", ["half", "honest"])
def test_contract_and_priors_are_those_of_fp32(
    precision: str, single: Path, request: pytest.FixtureRequest
) -> None:
    """The same input and outputs, and every anchor where FP32 has it, in full precision."""
    images = noise_images(2, 128, 192)
    outputs = []
    for path in (single, request.getfixturevalue(precision)):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        assert [value.type for value in session.get_inputs()] == ["tensor(uint8)"]
        assert [value.type for value in session.get_outputs()] == ["tensor(float)"] * 2
        outputs.append(session.run(["candidates", "priors"], {"images": images}))
    (_, exact), (candidates, priors) = outputs
    count = 3 * (16 * 24 + 8 * 12 + 4 * 6)
    for ours, theirs, found in zip(priors, exact, candidates, strict=True):
        rows = [{row.tobytes() for row in each[:count]} for each in (ours, theirs)]
        assert rows[0] == rows[1]
        assert len(rows[0]) == count
        assert (np.diff(found[:count, 4]) > 0).sum() <= 1, "leading anchors, then all others"


def test_file_says_what_it_was_calibrated_on(honest: Path, frames: Path) -> None:
    told = {entry.key: entry.value for entry in onnx.load(honest).metadata_props}
    assert told["precision"] == "int8"
    assert told["calibration"] == frames.name
    assert told["calibration_frames"] == str(CALIBRATION_FRAMES)
    assert told["calibration_sha256"] == read_calibration(frames).sha256
    assert str(frames) not in told.values()


def test_lower_precision_is_made_of_fp32_alone(half: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is fp16; give an FP32 file"):
        export_onnx(half, tmp_path / "x.onnx", precision="fp16")
    with pytest.raises(ModelError, match="only an FP32 detector"):
        to_int8(onnx.load(half), Calibration("none", ()))


# The gate.


def black(folder: Path) -> Path:
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"{index}.png"), np.zeros((384, 640, 3), np.uint8))
    return folder


def narrowed(model: Path, output: Path) -> Path:
    """The same model with an eighth of the range of every activation."""
    broken = onnx.load(model)
    scales = {n.input[1] for n in broken.graph.node if n.op_type == "QuantizeLinear"}
    for constant in broken.graph.initializer:
        if constant.name in scales:
            eighth = numpy_helper.to_array(constant) / 8
            constant.CopyFrom(numpy_helper.from_array(eighth.astype(np.float32), constant.name))
    onnx.save(broken, output)
    return output


def test_fp16_passes(half: Path, labelled: Path) -> None:
    done = run("gate", half, "--data", labelled)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("passed ") == 5
    assert require_passed(half).passed


def test_honest_int8_keeps_its_average_precision(honest: Path, labelled: Path) -> None:
    """On so few images no more can be asked: one face is a great part of a bin."""
    record = gate.judge(honest, labelled)
    assert record.losses[0].passed, "\n".join(map(str, record.losses))


@pytest.mark.parametrize("way", ["black frames", "narrow ranges"])
def test_broken_calibration_is_refused(
    way: str, honest: Path, labelled: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    if way == "black frames":
        frames = black(tmp_path / "black")
        words = ("onnx", "bundled", "-o", broken, "--precision", "int8", "--calibration", frames)
        assert run(*words).exit_code == 0
    else:
        narrowed(honest, broken)
    done = run("gate", broken, "--data", labelled)
    assert done.exit_code == 5
    (sentence,) = done.stderr.splitlines()
    assert "is refused: " in sentence
    assert "in FP32; calibrate it on frames like those it will see, or serve FP16" in sentence
    assert json.loads(record_path(broken).read_text())["passed"] is False

    served = run("repository", "--onnx", broken, "--backend", "embedded", "-o", tmp_path / "r")
    assert served.exit_code == 5
    assert "is refused: " in served.stderr
    assert not (tmp_path / "r").exists()


def test_what_cannot_be_judged_does_not_pass(
    half: Path, labelled: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The official model may have been fetched before.
    monkeypatch.setenv("FACEBLUR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"only \d+ faces of .* needs 20; add labelled images"):
        gate.judge(half, labelled / "masks")
    with pytest.raises(ModelError, match="is FP32: there is nothing"):
        gate.judge(shipped_onnx(), labelled)
    with pytest.raises(ModelError, match="give an FP32 file as --reference"):
        gate.judge(half, labelled, reference=half)
    official = shared / "weights" / "yolov5n-0.5-face.pt"
    other = export_onnx(official, tmp_path / "other.onnx").path
    with pytest.raises(ModelError, match="made from other weights"):
        gate.judge(half, labelled, reference=other)
    alone = export_onnx(official, tmp_path / "alone.onnx", precision="fp16").path
    with pytest.raises(ModelError, match="name one with --reference"):
        gate.judge(alone, labelled)


def test_a_record_is_of_one_file_and_whole(honest: Path, labelled: Path, tmp_path: Path) -> None:
    model = copied(honest, tmp_path)
    with pytest.raises(ModelError, match="has not passed the accuracy gate; judge it with: faceb"):
        require_passed(model)
    record = replace(gate_record_of(model), losses=(LOSS,))
    write_record(record_path(model), record)
    assert require_passed(model) == record
    write_record(record_path(model), replace(record, losses=(LOSS, replace(LOSS, passed=False))))
    with pytest.raises(ModelError, match="is refused: AP50"):
        require_passed(model)
    content = json.loads(record_path(model).read_text())
    for text in ("{}", json.dumps(content | {"losses": []})):
        record_path(model).write_text(text)
        with pytest.raises(ModelError, match="cannot be read"):
            require_passed(model)
    write_record(record_path(model), record)
    with model.open("ab") as file:
        file.write(os.urandom(8))
    with pytest.raises(ModelError, match="has changed since it was judged"):
        require_passed(model)


# Plans.


def test_int8_plan_is_built_once_it_has_passed(
    honest: Path, rtx: PythonBuilder, tmp_path: Path
) -> None:
    model, output = copied(honest, tmp_path), tmp_path / "r"
    options = PlanOptions(rtx, A10, "int8", size=64)
    with pytest.raises(ModelError, match="has not passed the accuracy gate"):
        fill_repository(output, model, size=64, plan=options)
    assert not output.exists()
    write_record(record_path(model), gate_record_of(model))
    fill_repository(output, model, size=64, plan=options)
    manifest = read_manifest(plan_path(output))
    assert manifest.precision == "int8"
    assert manifest.gate == "passed on 9 images of x, AP50 -0.0050"
    assert manifest.calibration.startswith(f"{CALIBRATION_FRAMES} frames of ")

    # Where nothing changed the plan is kept, and so is what says that it may be there.
    kept = keep_plan(plan_path(output), model, options, gpus=[A10])
    assert kept.builder is not rtx
    fill_repository(output, model, size=64, plan=kept, renew=True)
    assert read_manifest(plan_path(output)) == manifest
    assert require_passed(plan_path(output).with_name("model.onnx")).passed


def test_mistakes_build_nothing(single: Path, tmp_path: Path, rtx: PythonBuilder) -> None:
    done = run("repository", "--onnx", single, "--weights", single, "-o", tmp_path / "r")
    assert done.exit_code == 3
    assert "give --onnx alone" in done.stderr
    options = PlanOptions(rtx, A10, "int8")
    for build in (build_plan, lambda model, to, plan: fill_repository(to, model, plan=plan)):
        with pytest.raises(ModelError, match=r"is fp32; give one made by .* int8, or"):
            build(single, tmp_path / "r", options)
    assert not (tmp_path / "r").exists()
