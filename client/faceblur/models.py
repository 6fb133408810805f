"""Models by name: the bundled one, and those that `faceblur-export weights pull` fetched."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

from faceblur.defaults import BUNDLED_MODEL
from faceblur.detector import ModelInfo
from faceblur.errors import ModelError
from faceblur.onnx_model import read_model_info
from faceblur.repository import bundled_onnx, bundled_parameters


def cache_folder() -> Path:
    """Where fetched weights and models are kept; FACEBLUR_CACHE overrides the system's place."""
    if folder := os.environ.get("FACEBLUR_CACHE"):
        return Path(folder)
    return Path(platformdirs.user_cache_dir("faceblur"))


def cached_models() -> dict[str, Path]:
    """The models that were fetched and exported, by name."""
    return {path.stem: path for path in sorted(cache_folder().glob("models/*.onnx"))}


def find(name: str) -> tuple[Path, ModelInfo]:
    """Find a model's ONNX file.

    Args:
        name: `bundled`, the name of a fetched model, or the path of an ONNX file.

    Raises:
        ModelError: There is none; the message says how to get one.
    """
    if name == BUNDLED_MODEL:
        return _bundled()
    if name.endswith(".onnx"):
        path = Path(name)
        if not path.is_file():
            raise ModelError(f"{name} is not a file; make one with: faceblur-export onnx")
        return path, read_model_info(path)
    known = cached_models()
    if name not in known:
        raise ModelError(
            f"the model {name} is not on this machine; run: faceblur-export weights pull {name}"
        )
    return known[name], read_model_info(known[name], name=name)


def _bundled() -> tuple[Path, ModelInfo]:
    path, said = bundled_onnx(), bundled_parameters()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    # Of the very file that it speaks of the repository is believed: opening that takes longer.
    if said.get("model_sha256") == sha256 and said.get("stride", "").isdigit():
        return path, ModelInfo(BUNDLED_MODEL, sha256, int(said["stride"]))
    return path, read_model_info(path, name=BUNDLED_MODEL)


def matches(model: ModelInfo, wanted: str) -> bool:
    """Whether what a server serves is the wanted model, by name or by the file's hash."""
    if wanted == model.name:
        return True
    try:
        return find(wanted)[1].sha256 == model.sha256
    except ModelError:
        return False
