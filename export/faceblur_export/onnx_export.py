"""From a checkpoint file to an ONNX file."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from faceblur.atomic import atomic_path
from faceblur.errors import ModelError
from faceblur_export.checkpoint import load_model
from faceblur_export.detector_graph import ModelCard, Precision, detector_graph
from faceblur_export.hashing import sha256_of
from faceblur_export.known_weights import licence_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportedModel:
    """An ONNX file and what it holds.

    Attributes:
        path: The file.
        name: Name of the model.
        variant: Which of the nine networks it is.
        stride: Height and width of its input are multiples of this.
        precision: `fp32` or `fp16`.
        sha256: Hash of the file, hexadecimal.
    """

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
) -> ExportedModel:
    """Write the detector with these weights as an ONNX file.

    The same weights, name and precision give the same bytes.

    Args:
        weights: A checkpoint, official or of our own training.
        output: The file to write; it appears only when it is complete.
        name: Name of the model; the checkpoint's file name without its ending when None.
        precision: Of weights and computation.
        variant: What the weights must be; anything when None.

    Raises:
        ModelError: The checkpoint cannot be used, or is another variant.
        OutputError: The file cannot be written.
    """
    model, found = load_model(weights)
    if variant not in (None, found):
        raise ModelError(
            f"{weights} holds {found}, not {variant}; leave out --variant or change it"
        )
    weights_sha256 = sha256_of(weights)
    card = ModelCard(name or weights.stem, weights_sha256, licence_of(weights_sha256))
    graph = detector_graph(model, card, precision=precision)
    content = graph.SerializeToString(deterministic=True)
    with atomic_path(output) as temporary:
        temporary.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    logger.info("exported %s (%s, %s) to %s", card.name, found, precision, output)
    return ExportedModel(output, card.name, found, model.stride, precision, digest)
