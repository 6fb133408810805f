"""Read an ONNX file that holds a detector, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import onnx

from faceblur.errors import ModelError

REQUIRED: Final = frozenset({"name", "stride", "precision", "variant"})
"""What every detector says of itself."""


def metadata_of(model: Any) -> dict[str, str]:
    """What an `onnx.ModelProto` says of itself."""
    return {entry.key: entry.value for entry in model.metadata_props}


def read_onnx(path: Path) -> tuple[Any, dict[str, str]]:
    """Read a detector.

    Returns:
        The `onnx.ModelProto`, and what it says of itself.

    Raises:
        ModelError: The file cannot be read, or is something else.
    """
    advice = "make one with: faceblur-export onnx"
    try:
        model = onnx.load(str(path))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; {advice}") from error
    except Exception as error:  # protobuf's errors share no public base
        raise ModelError(f"{path} is not an ONNX file; {advice}") from error
    metadata = metadata_of(model)
    if not metadata.keys() >= REQUIRED:
        raise ModelError(f"{path} is not a faceblur detector; {advice}")
    return model, metadata
