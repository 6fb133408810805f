"""The official weights in the cache, and the models exported from them."""

from __future__ import annotations

import shutil
from pathlib import Path

from faceblur.errors import ModelError, OutputError
from faceblur.files import atomic_path, cache_folder, file_sha256
from faceblur_export.onnx import ExportedModel, export_onnx
from faceblur_export.progress import ShowShare
from faceblur_export.weights.download import check_hash, fetch
from faceblur_export.weights.known import KNOWN


def pull(
    name: str, *, source: Path | None = None, progress: ShowShare = lambda _: None
) -> ExportedModel:
    """Bring an official checkpoint into the cache, and export it to ONNX beside it.

    Nothing is fetched when the cache has it already.

    Args:
        name: One of `KNOWN`.
        source: A file to take it from instead of the network; its hash is checked all the same.
        progress: Called with the share that is fetched.

    Raises:
        ModelError: The name is unknown, it cannot be fetched, or its hash is wrong.
        OutputError: The cache cannot be written.
    """
    if name not in KNOWN:
        raise ModelError(f"there are no weights called {name!r}; known are {', '.join(KNOWN)}")
    known, cache = KNOWN[name], cache_folder()
    path, exported = cache / "weights" / f"{name}.pt", cache / "models" / f"{name}.onnx"
    for folder in (path.parent, exported.parent):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the cache folder {folder}: {error.strerror}; set FACEBLUR_CACHE to "
                "a folder you may write to"
            ) from error
    if source is not None:
        check_hash(source, known.sha256)
        with atomic_path(path) as temporary:
            shutil.copyfile(source, temporary)
    elif not path.is_file() or file_sha256(path) != known.sha256:
        fetch(known.url, path, sha256=known.sha256, progress=progress)
    return export_onnx(path, exported, name=name)
