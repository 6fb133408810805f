"""The ONNX file computes what the network computes, at every shape and batch size."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from networks import closed_form_model, lively_model, noise_images
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from torch import nn

from faceblur.detection.decoding import find_faces
from faceblur.detection.models import open_onnx, read_model_info
from faceblur.detection.repository import SHIPPED, shipped_onnx
from faceblur.errors import ModelError, OutputError
from faceblur_export.network import VARIANTS, YOLOv5Face, build
from faceblur_export.network.blocks import SPP, ShuffleBlock
from faceblur_export.onnx import Precision, export_onnx
from faceblur_export.onnx_graph import detector as detector_graph_module
from faceblur_export.onnx_graph.detector import (
    CANDIDATES,
    EMPTY_OBJECTNESS,
    FLOOR_LOGIT,
    detector_graph,
)
from faceblur_export.onnx_graph.half_precision import to_half
from faceblur_export.weights.checkpoint import load_model

TOLERANCE = 1e-4
LARGE = {"yolov5l", "yolov5m6", "yolov5l6"}
"""Deeper and wider than yolov5m and yolov5s6, and otherwise the same."""

LIVELY = ("yolov5n-0.5", "yolov5s", "yolov5n6")
LIVELY_TOLERANCE = 1e-3
"""Random weights amplify rounding: PyTorch's float32 is itself 2e-4 from its float64."""

CARD = {"name": "test", "weights_sha256": "0" * 64, "licence": "GPL-3.0-or-later"}
Array = npt.NDArray[Any]


def session(model: YOLOv5Face, precision: Precision = "fp32") -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = detector_graph(model, **CARD)
    if precision == "fp16":
        to_half(graph)
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, ["CPUExecutionProvider"]
    )


@dataclass(frozen=True)
class Rows:
    """What PyTorch gives for every anchor of a batch.

    Attributes:
        values: (B, A, 16) raw.
        priors: (A, 5).
        cells: (A,) number of the cell that each anchor belongs to.
        best: (B, A) highest objectness in the cell of each anchor.
    """

    values: Array
    priors: Array
    cells: Array
    best: Array


def raw_rows(model: YOLOv5Face, images: Array) -> Rows:
    with torch.inference_mode():
        maps = model(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    priors, cells, best = [], [], []
    for level, stride, sizes in zip(maps, model.strides, model.anchors.numpy(), strict=True):
        anchor, y, x = np.indices(level.shape[1:4]).reshape(3, -1)
        priors.append(np.column_stack((x, y, np.full_like(x, stride), sizes[anchor])))
        cells.append((stride << 40) + (y << 20) + x)
        best.append(level[..., 4].amax(1, keepdim=True).expand_as(level[..., 4]).flatten(1))
    return Rows(
        np.concatenate([level.flatten(1, 3).numpy() for level in maps], 1),
        np.concatenate(priors).astype(np.float32),
        np.concatenate(cells),
        np.concatenate(best, 1),
    )


def check_parity(
    session: Any, model: YOLOv5Face, images: Array, *, tolerance: float = TOLERANCE
) -> None:
    """The outputs are the best anchors of every image, each with its own raw values."""
    candidates, priors = session.run(["candidates", "priors"], {"images": images})
    assert candidates.shape == (len(images), CANDIDATES, 16)
    assert priors.shape == (len(images), CANDIDATES, 5)
    rows = raw_rows(model, images)
    numbers = {prior.tobytes(): i for i, prior in enumerate(rows.priors)}
    count = min(CANDIDATES, len(numbers))
    for got, placed, values, best in zip(candidates, priors, rows.values, rows.best, strict=True):
        chosen = np.array([numbers[prior.tobytes()] for prior in placed[:count]])
        assert len(set(chosen)) == count
        np.testing.assert_allclose(got[:count], values[chosen], atol=tolerance, rtol=0)
        assert (got[count:, 4] == EMPTY_OBJECTNESS).all()
        check_choice(chosen, values[:, 4], best, rows.cells, tolerance)


def check_choice(
    chosen: Array, objectness: Array, best: Array, cells: Array, tolerance: float
) -> None:
    """The best anchor of every cell above the floor comes first, then all others."""
    leads = (objectness >= best - tolerance) & (best >= FLOOR_LOGIT - tolerance)
    surely = (objectness >= best) & (best >= FLOOR_LOGIT + tolerance)
    told = objectness[chosen]
    ascents = np.flatnonzero(np.diff(told) > tolerance)
    assert len(ascents) <= 1, "two falling runs: the leading anchors, and the others"
    if surely.sum() >= len(chosen):
        assert leads[chosen].all()
        assert told.min() >= np.sort(objectness[surely])[-len(chosen)] - tolerance
        return
    assert set(cells[surely]) <= set(cells[chosen[leads[chosen]]])
    others = told[~leads[chosen]]
    left_out = np.delete(objectness, chosen)
    assert left_out.max(initial=-np.inf) <= others.min(initial=np.inf) + tolerance


@pytest.fixture(scope="module")
def official(shared: Path) -> YOLOv5Face:
    return load_model(shared / "weights" / "yolov5n-0.5-face.pt")[0]


@pytest.mark.parametrize(
    ("batch", "height", "width"),
    [(1, 384, 640), (3, 480, 640), (2, 640, 384), (8, 96, 160), (5, 32, 32), (1, 1088, 1920)],
)
def test_official_weights_at_many_shapes_and_batch_sizes(
    official: YOLOv5Face, batch: int, height: int, width: int
) -> None:
    check_parity(session(official), official, noise_images(batch, height, width))


def eager(model: YOLOv5Face) -> YOLOv5Face:
    """A copy that sees a face everywhere: more cells above the floor than candidates."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for level in model.head.m:
            level.bias.view(3, 16)[:, 4] += 12
    return model


def test_a_crowd_is_not_crowded_out_by_its_own_spare_anchors(
    official: YOLOv5Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd, images = eager(official), noise_images(1, 640, 640)
    check_parity(session(crowd), crowd, images)
    monkeypatch.setattr(detector_graph_module, "LIFT", 0.0)
    with pytest.raises(AssertionError):
        check_parity(session(crowd), crowd, images)


@pytest.mark.parametrize("variant", sorted(VARIANTS.keys() - LARGE))
def test_every_variant_but_the_largest(variant: str) -> None:
    model = closed_form_model(variant)
    check_parity(session(model), model, noise_images(2, 64, 128))


@pytest.mark.parametrize("variant", LIVELY)
def test_networks_that_vary_over_the_image(variant: str) -> None:
    model = lively_model(variant)
    check_parity(session(model), model, noise_images(2, 128, 192), tolerance=LIVELY_TOLERANCE)


def wrong_shuffle(model: YOLOv5Face) -> None:
    for module in model.modules():
        if isinstance(module, ShuffleBlock):
            module.shuffle = torch.arange(len(module.shuffle))


def wrong_pooling(model: YOLOv5Face) -> None:
    for module in model.modules():
        if isinstance(module, SPP):
            module.m[2] = nn.MaxPool2d(9, 1, 4)


def wrong_upsampling(model: YOLOv5Face) -> None:
    """Twice the sides, but as the left and upper neighbours, not the nearest."""
    for module in model.modules():
        if isinstance(module, nn.Upsample):
            module.register_forward_hook(lambda _, __, out: out.roll((1, 1), (2, 3)))


def wrong_anchor(model: YOLOv5Face) -> None:
    model.head.anchor_grid[1, 0, 2] += 1


def wrong_weight(model: YOLOv5Face) -> None:
    with torch.no_grad():
        next(model.parameters())[0, 0, 0, 0] += 0.01


@pytest.mark.parametrize(
    ("variant", "break_it"),
    [
        ("yolov5n-0.5", wrong_shuffle),
        ("yolov5s", wrong_pooling),
        ("yolov5s", wrong_upsampling),
        ("yolov5n-0.5", wrong_anchor),
        ("yolov5n-0.5", wrong_weight),
    ],
)
def test_parity_check_catches_a_graph_of_another_network(variant: str, break_it: Any) -> None:
    model, other = lively_model(variant), lively_model(variant)
    break_it(other)
    with pytest.raises((AssertionError, KeyError)):
        check_parity(session(model), other, noise_images(2, 128, 192), tolerance=LIVELY_TOLERANCE)


@pytest.mark.parametrize("name", ["crowd", "street", "masks"])
@pytest.mark.parametrize(
    ("precision", "pixels", "score"), [("fp32", 0.01, 1e-4), ("fp16", 0.5, 0.005)]
)
def test_faces_are_those_of_the_reference(
    official: YOLOv5Face, shared: Path, name: str, precision: Precision, pixels: float, score: float
) -> None:
    image = cv2.imread(str(shared / "golden" / f"{name}.png"))[None, :, :, ::-1]
    outputs = session(official, precision).run(None, {"images": np.ascontiguousarray(image)})
    assert {output.dtype for output in outputs} == {np.dtype(np.float32)}
    faces = find_faces(*outputs, np.array([0.02]))[0]
    golden = np.load(shared / "golden" / f"{name}.npz")["nms_conf0.3"]
    confident = faces[faces[:, 4] > 0.3]
    assert len(confident) == len(golden)
    np.testing.assert_allclose(confident[:, :4], golden[:, :4], atol=pixels)
    np.testing.assert_allclose(confident[:, 4], golden[:, 4], atol=score)
    np.testing.assert_allclose(confident[:, 5:], golden[:, 5:15], atol=pixels)


def test_file_says_what_it_holds(shared: Path, tmp_path: Path) -> None:
    weights = shared / "weights" / "yolov5n-0.5-face.pt"
    exported = export_onnx(weights, tmp_path / "model.onnx")
    onnx.checker.check_model(onnx.load(exported.path), full_check=True)
    opened = open_onnx(exported.path, threads=1)
    assert opened.get_modelmeta().custom_metadata_map == {
        "name": "yolov5n-0.5-face",
        "variant": "yolov5n-0.5",
        "stride": "32",
        "classes": "face",
        "precision": "fp32",
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "licence": "GPL-3.0-only",
    }
    (images,) = opened.get_inputs()
    assert (images.type, images.shape[-1]) == ("tensor(uint8)", 3)
    assert all(isinstance(side, str) for side in images.shape[:3])
    info = read_model_info(exported.path)
    assert (info.name, info.sha256, info.stride) == ("yolov5n-0.5-face", exported.sha256, 32)


def test_same_weights_give_the_same_bytes(shared: Path, tmp_path: Path) -> None:
    weights = shared / "weights" / "yolov5n-0.5-face.pt"
    first, second, other = (
        export_onnx(weights, tmp_path / "1.onnx"),
        export_onnx(weights, tmp_path / "2.onnx"),
        export_onnx(weights, tmp_path / "3.onnx", precision="fp16"),
    )
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.sha256 == second.sha256 != other.sha256


def test_graph_knows_no_batch_size(official: YOLOv5Face) -> None:
    """Every reshape keeps the batch by copying it, so TensorRT can batch."""
    graph = detector_graph(official, **CARD).graph
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in graph.initializer}
    reshapes = [node for node in graph.node if node.op_type == "Reshape"]
    assert reshapes
    for node in reshapes:
        assert constants[node.input[1]][0] == 0


def test_sides_that_fit_no_stride_are_placed_right_or_refused(official: YOLOv5Face) -> None:
    opened = session(official)
    answered = []
    for short in range(32):
        images = noise_images(1, 128 - short, 192)
        try:
            opened.run(None, {"images": images})
        except Fail:
            continue
        check_parity(opened, official, images)
        answered.append(short)
    assert answered == [0, 1, 4, 5]
    check_parity(opened, official, noise_images(2, 191, 123))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_bundled_file_has_the_graph_that_is_made_now(name: str) -> None:
    bundled = onnx.load(shipped_onnx(name))
    (variant,) = (entry.value for entry in bundled.metadata_props if entry.key == "variant")
    assert detector_graph(build(variant), **CARD).graph.node == bundled.graph.node


def test_refusals_leave_nothing_behind(shared: Path, tmp_path: Path) -> None:
    weights = shared / "weights" / "yolov5n-0.5-face.pt"
    with pytest.raises(ModelError, match=r"holds yolov5n-0\.5, not yolov5s"):
        export_onnx(weights, tmp_path / "x.onnx", variant="yolov5s")
    with pytest.raises(OutputError, match="does not exist"):
        export_onnx(weights, tmp_path / "absent" / "x.onnx")
    with pytest.raises(ModelError, match="cannot read"):
        export_onnx(tmp_path / "absent.pt", tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
