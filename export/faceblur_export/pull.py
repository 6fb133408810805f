"""The official weights in the cache, and the models exported from them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from faceblur.detection.models import cache_folder
from faceblur.errors import ModelError, OutputError
from faceblur.files import atomic_path, file_sha256
from faceblur_export.onnx import ExportedModel, export_onnx
from faceblur_export.weights.download import Progress, check_hash, fetch
from faceblur_export.weights.known import KNOWN, KnownWeights


@dataclass(frozen=True)
class CachedWeights:
    """What the cache has of one official checkpoint.

    Attributes:
        known: Which.
        weights: The checkpoint, or None.
        model: The ONNX file made from it, or None.
    """

    known: KnownWeights
    weights: Path | None
    model: Path | None


def weights_path(name: str) -> Path:
    """Where the cache keeps a checkpoint."""
    return cache_folder() / "weights" / f"{name}.pt"


def model_path(name: str) -> Path:
    """Where the cache keeps the ONNX file made from a checkpoint."""
    return cache_folder() / "models" / f"{name}.onnx"


def cached() -> list[CachedWeights]:
    """Every known checkpoint, and what the cache has of it."""
    return [
        CachedWeights(known, _if_there(weights_path(name)), _if_there(model_path(name)))
        for name, known in KNOWN.items()
    ]


def pull(
    name: str, *, source: Path | None = None, progress: Progress | None = None
) -> ExportedModel:
    """Bring an official checkpoint into the cache, and export it to ONNX beside it.

    Nothing is fetched when the cache has it already.

    Args:
        name: One of `KNOWN`.
        source: A file to take it from instead of the network; its hash is checked all the same.
        progress: Called while it is fetched.

    Returns:
        The ONNX file in the cache.

    Raises:
        ModelError: The name is unknown, it cannot be fetched, or its hash is wrong.
        OutputError: The cache cannot be written.
    """
    known = find(name)
    path, exported = weights_path(name), model_path(name)
    for folder in (path.parent, exported.parent):
        _make_folder(folder)
    if source is not None:
        _take(source, path, known)
    elif not path.is_file() or file_sha256(path) != known.sha256:
        fetch(known.url, path, sha256=known.sha256, progress=progress)
    return export_onnx(path, exported, name=name)


def find(name: str) -> KnownWeights:
    """The official checkpoint of this name.

    Raises:
        ModelError: There is none; the message lists those there are.
    """
    if name not in KNOWN:
        raise ModelError(f"there are no weights called {name!r}; known are {', '.join(KNOWN)}")
    return KNOWN[name]


def _take(source: Path, path: Path, known: KnownWeights) -> None:
    check_hash(source, known.sha256)
    with atomic_path(path) as temporary:
        shutil.copyfile(source, temporary)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the cache folder {folder}: {error.strerror}; set FACEBLUR_CACHE to a "
            "folder you may write to"
        ) from error


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None
