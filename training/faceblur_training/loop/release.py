"""Make a trained checkpoint the bundled model of this repository."""

from __future__ import annotations

import re
from pathlib import Path

from faceblur.detection.models import BUNDLED_MODEL
from faceblur.detection.repository import model_repository
from faceblur.files import atomic_path
from faceblur_export.onnx import export_onnx
from faceblur_training.loop import checkpointing

WEIGHTS = Path(__file__).with_name("bundled.pt")
"""The bundled model's weights, to start a training from."""


def checkpoint_named(path: Path) -> Path:
    """The file of a checkpoint; the word `bundled` stands for the bundled model's weights."""
    return WEIGHTS if str(path) == BUNDLED_MODEL else path


def release(checkpoint: Path) -> str:
    """Put a checkpoint's averaged weights, their ONNX file and its hash where they belong.

    Args:
        checkpoint: Written by `faceblur-train`.

    Returns:
        SHA-256 of the ONNX file, hexadecimal.

    Raises:
        ModelError: The checkpoint cannot be used.
        OutputError: The checkout cannot be written.
    """
    content = checkpointing.load(checkpoint)
    checkpointing.save(WEIGHTS, variant=content["variant"], model=content["model"], training={})
    detector = model_repository() / "yolov5_face"
    exported = export_onnx(WEIGHTS, detector / "1" / "model.onnx", name=BUNDLED_MODEL)
    values = {"model_name": BUNDLED_MODEL, "model_sha256": exported.sha256}
    for config in (detector / "config.pbtxt", *sorted((detector / "configs").glob("*.pbtxt"))):
        # As text: the comments are worth keeping.
        text = config.read_text()
        for key, value in values.items():
            pattern = rf'(key: "{key}" value {{ string_value: ")[^"]*'
            text = re.sub(pattern, rf"\g<1>{value}", text)
        with atomic_path(config) as temporary:
            temporary.write_text(text)
    return exported.sha256
