"""The networks that are measured: the ones at hand, and random weights where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import onnx

from faceblur.detection import models
from faceblur.detection.detector import ModelInfo
from faceblur.detection.repository import SHIPPED
from faceblur.errors import ModelError
from faceblur_export.onnx_graph.file import read_onnx
from faceblur_export.onnx_graph.half_precision import to_half

Precision = Literal["fp32", "tf32", "fp16"]

CACHED: Final = "yolov5{}-face"
"""Name of the official weights of a size, where they were fetched."""

_SEED: Final = 7


@dataclass(frozen=True)
class Network:
    """One network in one precision.

    Attributes:
        name: What the tables call it: `bundled`, `fast`, a size, as `s`, or that its weights are
            random.
        variant: Of YOLOv5-face.
        precision: How it computes.
        weights: `shipped`, `official` or `random`.
        onnx: The file.
        info: What a server says of it.
    """

    name: str
    variant: str
    precision: Precision
    weights: str
    onnx: Path
    info: ModelInfo


def lay_out(name: str, precisions: Sequence[Precision], folder: Path) -> dict[Precision, Network]:
    """A network in several precisions.

    Args:
        name: `bundled`, `fast`, a size of YOLOv5-face, or the path of an FP32 ONNX file.
        precisions: Wanted; FP32 and TF32 share a file.
        folder: For files that are made.

    Raises:
        ModelError: There is no such network, or PyTorch is missing for random weights.
    """
    single, weights = _single(name, folder)
    graph, metadata = read_onnx(single)
    files = {"fp32": single, "tf32": single}
    if "fp16" in precisions:
        files["fp16"] = folder / f"{Path(name).stem}-fp16.onnx"
        to_half(graph)
        onnx.save(graph, str(files["fp16"]))
    name = Path(name).stem + (" with random weights" if weights == "random" else "")
    return {
        precision: Network(
            name,
            metadata["variant"],
            precision,
            weights,
            files[precision],
            models.read_model_info(files[precision], name=name),
        )
        for precision in precisions
    }


def _single(name: str, folder: Path) -> tuple[Path, str]:
    """The file in FP32, and where its weights come from."""
    if name in SHIPPED or name.endswith(".onnx"):
        return models.find(name)[0], "shipped" if name in SHIPPED else "given"
    official = CACHED.format(name)
    if official in models.cached_models():
        return models.find(official)[0], "official"
    path = folder / f"{name}.onnx"
    if not path.is_file():
        _write_random(name, path)
    return path, "random"


def _write_random(size: str, path: Path) -> None:
    """As slow as with real weights; it finds nothing, as a frame without faces."""
    try:
        import torch

        from faceblur_export.network import build
        from faceblur_export.onnx_graph.detector import detector_graph
    except ModuleNotFoundError as error:
        raise ModelError(f"random weights for {size} need {error.name}") from error
    torch.manual_seed(_SEED)
    model = build(f"yolov5{size}").eval()
    graph = detector_graph(model, size, weights_sha256="none: random", licence="none: random")
    onnx.save(graph, str(path))
