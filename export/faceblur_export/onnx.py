"""From a checkpoint, or an FP32 ONNX file, to an ONNX file in some precision."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from faceblur.detection.repository import SHIPPED, shipped_onnx
from faceblur.errors import InputError, ModelError
from faceblur.files import atomic_path, file_sha256
from faceblur_export.extras import needing
from faceblur_export.onnx_graph.calibration import read_calibration
from faceblur_export.onnx_graph.file import metadata_of, read_onnx
from faceblur_export.onnx_graph.half_precision import to_half
from faceblur_export.progress import ShowShare
from faceblur_export.weights.known import licence_of

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class ExportedModel:
    """An ONNX file and what it holds: sides of its input are multiples of `stride`."""

    path: Path
    name: str
    variant: str
    stride: int
    precision: Precision
    sha256: str


def export_onnx(
    weights: Path,
    output: Path,
    *,
    name: str | None = None,
    precision: Precision = "fp32",
    variant: str | None = None,
    calibration: Path | None = None,
    progress: ShowShare = lambda _: None,
) -> ExportedModel:
    """Write the detector with these weights as an ONNX file.

    The same weights, name, precision and calibration give the same bytes.

    Args:
        weights: A checkpoint, official or of our own training; an FP32 ONNX file; or the word
            `bundled` or `fast`.
        output: The file to write; it appears only when it is complete.
        name: Name of the model; the checkpoint's file name without its ending, or what the ONNX
            file says, when None.
        precision: Of weights and computation.
        variant: What the weights must be; anything when None.
        calibration: For `int8`: a folder of images, or a video, like what the model will see.
        progress: Called with the share of the calibration that is done.

    Raises:
        InputError: The calibration is missing, not wanted, or cannot be read.
        ModelError: The weights cannot be used, or are another variant.
        OutputError: The file cannot be written.
    """
    if (precision == "int8") != (calibration is not None):
        raise InputError(
            "--precision int8 needs --calibration, a folder of images or a video"
            if calibration is None
            else "--calibration is for --precision int8 alone; leave it out"
        )
    graph = _single(weights, name)
    metadata = metadata_of(graph)
    found, stride = metadata["variant"], int(metadata["stride"])
    if variant not in (None, found):
        raise ModelError(
            f"{weights} holds {found}, not {variant}; leave out --variant or change it"
        )
    with atomic_path(output) as temporary:
        if precision == "fp16":
            to_half(graph)
        elif calibration is not None:
            # ONNX Runtime's quantiser takes a second to load.
            from faceblur_export.onnx_graph.int8 import to_int8

            graph = to_int8(graph, read_calibration(calibration, stride=stride), progress)
        content = graph.SerializeToString(deterministic=True)
        temporary.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    logger.info("exported %s (%s, %s) to %s", metadata["name"], found, precision, output)
    return ExportedModel(output, metadata["name"], found, stride, precision, digest)


def _single(weights: Path, name: str | None) -> Any:
    """The detector in FP32."""
    path = shipped_onnx(str(weights)) if str(weights) in SHIPPED else weights
    if path.suffix.lower() == ".onnx":
        graph, metadata = read_onnx(path)
        if metadata["precision"] != "fp32":
            raise ModelError(f"{weights} is {metadata['precision']}; give an FP32 file")
        for entry in graph.metadata_props:
            if entry.key == "name" and name:
                entry.value = name
        return graph
    # PyTorch, for checkpoints alone.
    with needing("export"):
        from faceblur_export.onnx_graph.detector import detector_graph
        from faceblur_export.weights.checkpoint import load_model

    model, _ = load_model(path)
    sha256 = file_sha256(path)
    return detector_graph(
        model, name or path.stem, weights_sha256=sha256, licence=licence_of(sha256)
    )
