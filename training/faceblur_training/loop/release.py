"""Make a trained checkpoint a model that comes with this repository."""

from __future__ import annotations

import json
import re
from pathlib import Path

from faceblur.detection.repository import (
    BUNDLED_MODEL,
    SHIPPED,
    model_repository,
    shipped_record,
)
from faceblur.files import atomic_path
from faceblur_export.onnx import export_onnx
from faceblur_export.weights.checkpoint import load_model
from faceblur_training.loop import checkpointing


def weights_of(name: str) -> Path:
    """The weights of a model that comes with this repository, to start a training from."""
    return Path(__file__).with_name(f"{name}.pt")


def checkpoint_named(path: Path) -> Path:
    """The file of a checkpoint; `bundled` and `fast` stand for the weights of those models."""
    return weights_of(str(path)) if str(path) in SHIPPED else path


def release(checkpoint: Path, *, name: str = BUNDLED_MODEL, shift: float = 0.0) -> str:
    """Put a checkpoint's averaged weights, their ONNX file and its hash where they belong.

    Args:
        checkpoint: Written by `faceblur-train`.
        name: Which of the models that come with the repository it shall be.
        shift: What is added to every objectness before the sigmoid. So the models' scores are
            brought onto one scale: the same threshold then follows from each by the same rule.

    Returns:
        SHA-256 of the ONNX file, hexadecimal.

    Raises:
        ModelError: The checkpoint cannot be used.
        OutputError: The checkout cannot be written.
    """
    content = checkpointing.load(checkpoint)
    weights, state = weights_of(name), content["model"]
    if shift:
        network, _ = load_model(checkpoint)
        network.head.shift_objectness(shift)
        state = network.state_dict()
    checkpointing.save(weights, variant=content["variant"], model=state, training={})
    detector = model_repository() / "yolov5_face"
    exported = export_onnx(weights, detector / "1" / SHIPPED[name], name=name)
    record = detector / "1" / shipped_record().name
    said = json.loads(record.read_text(encoding="utf-8"))
    said[name] = {"sha256": exported.sha256, "stride": exported.stride}
    with atomic_path(record) as temporary:
        temporary.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    if name != BUNDLED_MODEL:
        return exported.sha256
    values = {"model_name": name, "model_sha256": exported.sha256}
    for config in (detector / "config.pbtxt", *sorted((detector / "configs").glob("*.pbtxt"))):
        # As text: the comments are worth keeping.
        text = config.read_text()
        for key, value in values.items():
            pattern = rf'(key: "{key}" value {{ string_value: ")[^"]*'
            text = re.sub(pattern, rf"\g<1>{value}", text)
        with atomic_path(config) as temporary:
            temporary.write_text(text)
    return exported.sha256
