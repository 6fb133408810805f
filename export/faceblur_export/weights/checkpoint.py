"""Weights from a checkpoint file, official or of our own training, as a network."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from faceblur.errors import ModelError
from faceblur_export.network import VARIANTS, YOLOv5Face, build
from faceblur_export.weights import safe_pickle as inert_pickle
from faceblur_export.weights.safe_pickle import StandIn

TRAINING_FORMAT: Final = "faceblur-checkpoint-1"
"""Value of `format` in the checkpoints that `faceblur-train` writes."""


def load_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Read the weights of a checkpoint without running any code in it.

    Args:
        path: An official checkpoint (a pickled module), one of our own training
            (`format`, `variant`, `model`: the averaged weights), or a saved state dict.

    Returns:
        Weights by name, floating-point ones as float32.

    Raises:
        ModelError: It cannot be read, asks for code, or holds no weights.
    """
    path = Path(path)
    weights = _weights(inert_pickle.load(path))
    if not weights:
        raise ModelError(f"{path} holds no weights; give a YOLOv5-face checkpoint")
    state = {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
    broken = [k for k, v in state.items() if not torch.isfinite(v).all()]
    if broken:
        raise ModelError(f"{path} holds values that are not numbers, in {broken[0]}")
    return state


def load_model(path: Path | str) -> tuple[YOLOv5Face, str]:
    """Read a checkpoint as a network.

    Returns:
        The network in eval mode, float32, and the name of its variant.

    Raises:
        ModelError: As `load_state_dict`, or the weights fit no variant.
    """
    state = load_state_dict(path)
    variant = identify(state)
    if variant is None:
        raise ModelError(
            f"the weights in {path} fit none of the variants {', '.join(VARIANTS)}; "
            "give a YOLOv5-face checkpoint with five landmarks and one class"
        )
    model = build(variant)
    model.load_state_dict(state)
    return model.eval(), variant


def identify(state: dict[str, Tensor]) -> str | None:
    """The variant whose names and shapes these weights have, or None."""
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    return next((name for name in VARIANTS if _shapes(name) == shapes), None)


@functools.cache
def _shapes(variant: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = build(variant)
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def _weights(loaded: Any) -> dict[str, Tensor]:
    """The weights in whatever was pickled; none when it is something else."""
    if isinstance(loaded, StandIn):
        return dict(_walk(loaded, ""))
    if not isinstance(loaded, dict):
        return {}
    if loaded.get("format") == TRAINING_FORMAT:
        return _tensors(loaded.get("model"))
    for key in ("ema", "model", "state_dict"):
        if weights := _weights(loaded.get(key)):
            return weights
    return _tensors(loaded)


def _tensors(mapping: Any) -> dict[str, Tensor]:
    if not isinstance(mapping, dict):
        return {}
    return {k: v for k, v in mapping.items() if isinstance(k, str) and isinstance(v, Tensor)}


def _walk(module: StandIn, prefix: str) -> list[tuple[str, Tensor]]:
    """The state dict of a pickled module: its tensors under their dotted names."""
    attributes = vars(module)
    transient = attributes.get("_non_persistent_buffers_set", ())
    own = {**attributes.get("_parameters", {}), **attributes.get("_buffers", {})}
    found = [(prefix + k, v) for k, v in _tensors(own).items() if k not in transient]
    for name, child in attributes.get("_modules", {}).items():
        if isinstance(child, StandIn):
            found += _walk(child, f"{prefix}{name}.")
    return found
