"""Write checkpoints so that the last good one is never lost, and read them back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from faceblur.errors import ModelError, OutputError
from faceblur.files import atomic_path
from faceblur_export.weights.checkpoint import TRAINING_FORMAT


def save(path: Path, *, variant: str, model: dict[str, Any], training: dict[str, Any]) -> None:
    """Write a checkpoint beside the old one and put it in its place when it is whole.

    Args:
        path: Final name.
        variant: Name of the network.
        model: State dict of the averaged weights.
        training: All that an exact resume needs.

    Raises:
        OutputError: It cannot be written; what stood there before is untouched.
    """
    # Into memory first: torch reports a full disk as an error of its own archive format.
    buffer = io.BytesIO()
    content = {"format": TRAINING_FORMAT, "variant": variant, "model": model, "training": training}
    torch.save(content, buffer)
    try:
        with atomic_path(path) as part:
            part.write_bytes(buffer.getbuffer())
    except OutputError as error:
        kept = "; the checkpoint before it is kept" if path.exists() else ""
        again = f"; then run faceblur-train resume {path.parent}"
        going_on = again if (path.parent / "last.pt").exists() else ""
        raise OutputError(f"{error}{kept}{going_on}") from error


def load(path: Path, *, variant: str | None = None) -> dict[str, Any]:
    """Read a checkpoint of `save`, without running any code in it.

    Args:
        path: The file.
        variant: The network it has to be for.

    Raises:
        ModelError: It is missing, broken, of another kind or of another variant.
    """
    if not path.is_file():
        raise ModelError(f"there is no checkpoint {path}; give the folder of a run")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{path} is not a checkpoint that can be read; it may be cut short"
        ) from error
    if not isinstance(content, dict) or content.get("format") != TRAINING_FORMAT:
        raise ModelError(f"{path} is not a checkpoint of faceblur-train")
    if variant is not None and content["variant"] != variant:
        raise ModelError(
            f"{path} holds a {content['variant']} and not a {variant}, which this run trains; "
            "give another checkpoint, or start a new run with it as --weights"
        )
    return content
