"""All nine variants are the published networks, value for value."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import closed_form_model
from torch import Tensor, nn

from faceblur.errors import ModelError
from faceblur_export.network import VARIANTS, YOLOv5Face, build
from faceblur_export.network.blocks import Bottleneck, ShuffleBlock

TOLERANCE = 2e-4


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "golden" / "variants.json").read_text())


def decoded(model: YOLOv5Face, size: int) -> Tensor:
    """(A, 16) decoded rows, float64, of the closed-form image."""
    a = torch.arange(3 * size * size, dtype=torch.float64)
    image = (torch.sin(0.013 * a) * 0.5 + 0.5).float().view(1, 3, size, size)
    with torch.inference_mode():
        return model.eval().decode(model(image))[0].double()


def largest_difference(rows: Tensor, expected: dict[str, Any]) -> float:
    """From the golden values; relative for those above 1."""
    assert rows.shape == (expected["output_rows"], 16)
    got = {
        "output_mean": rows.mean(0),
        "output_std": rows.std(0),
        "output_row_0": rows[0],
        "output_row_mid": rows[len(rows) // 2],
        "output_row_last": rows[-1],
    }
    largest = 0.0
    for key, values in got.items():
        golden = torch.tensor(expected[key], dtype=torch.float64)
        difference = (values - golden).abs() / golden.abs().clamp(min=1)
        largest = max(largest, float(difference.max()))
    return largest


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_is_the_published_network(variant: str, golden: dict[str, Any]) -> None:
    expected = golden[variant]
    model = closed_form_model(variant)
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert list(shapes.items()) == list(expected["state_dict"].items())
    assert sum(p.numel() for p in model.parameters()) == expected["parameters"]
    assert model.strides == expected["strides"]
    assert model.anchors.flatten(1).tolist() == expected["anchors"]
    assert largest_difference(decoded(model, expected["input_size"]), expected) < TOLERANCE


def wrong_activation(model: YOLOv5Face) -> None:
    for module in model.modules():
        if isinstance(module, nn.SiLU):
            module.forward = nn.functional.relu  # type: ignore[method-assign]


def wrong_shortcut(model: YOLOv5Face) -> None:
    for module in model.modules():
        if isinstance(module, Bottleneck):
            module.shortcut = True


def wrong_shuffle(model: YOLOv5Face) -> None:
    for module in model.modules():
        if isinstance(module, ShuffleBlock):
            module.shuffle = torch.arange(len(module.shuffle))


def wrong_epsilon(model: YOLOv5Face) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5


@pytest.mark.parametrize(
    ("variant", "break_it"),
    [
        ("yolov5n-0.5", wrong_activation),
        ("yolov5s", wrong_shortcut),
        ("yolov5n6", wrong_shuffle),
        ("yolov5n", wrong_epsilon),
    ],
)
def test_goldens_catch_a_network_that_only_looks_the_same(
    variant: str, break_it: Callable[[YOLOv5Face], None], golden: dict[str, Any]
) -> None:
    expected = golden[variant]
    model = closed_form_model(variant)
    break_it(model)
    assert largest_difference(decoded(model, expected["input_size"]), expected) > TOLERANCE


@pytest.mark.parametrize("variant", ["yolov5n-0.5", "yolov5s6"])
def test_fusing_changes_nothing_and_leaves_the_original(variant: str) -> None:
    model = closed_form_model(variant)
    before = decoded(model, 128)
    fused = model.fuse()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    torch.testing.assert_close(decoded(fused, 128), before, atol=1e-3, rtol=1e-4)
    assert torch.equal(decoded(model, 128), before)
    kept = {parameter.data_ptr() for parameter in model.parameters()}
    assert not kept & {parameter.data_ptr() for parameter in fused.parameters()}


def test_new_network_starts_with_few_faces() -> None:
    with torch.inference_mode():
        maps = build("yolov5n-0.5").eval()(torch.rand(1, 3, 640, 640))
    expected = sum(float(level[..., 4].sigmoid().sum()) for level in maps)
    assert 3 < expected / 3 < 40


def test_unknown_variant_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"yolov9.*yolov5n-0\.5"):
        build("yolov9")
