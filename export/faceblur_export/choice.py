"""The ONNX file that a choice of checkpoint or variant stands for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceblur.detection.models import cached_models
from faceblur.detection.repository import bundled_onnx
from faceblur.errors import InputError, ModelError
from faceblur_export.extras import needing
from faceblur_export.weights.known import KNOWN


@contextmanager
def chosen(
    checkpoint: Path | None = None, variant: str | None = None, onnx: Path | None = None
) -> Iterator[Path]:
    """Give the ONNX file of a model.

    Args:
        checkpoint: A checkpoint to export; with `variant`, it must be that variant.
        variant: Alone: the official weights of this variant, which must be in the cache.
        onnx: Alone: an ONNX file that `export_onnx` wrote.

    Yields:
        The file; for a checkpoint it lasts as long as the block. Without a choice it is the
        bundled model.

    Raises:
        InputError: A file and something else were named.
        ModelError: There is no such model on this machine.
    """
    if onnx is not None and (checkpoint is not None or variant is not None):
        raise InputError("give --onnx alone, or --weights and --variant")
    if onnx is not None:
        yield onnx
    elif checkpoint is not None:
        with needing("export"):
            from faceblur_export.onnx import export_onnx
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "model.onnx")
            yield export_onnx(checkpoint, output, variant=variant).path
    elif variant is not None:
        yield _official(variant)
    else:
        yield bundled_onnx()


def _official(variant: str) -> Path:
    name = f"{variant}-face"
    if name not in KNOWN:
        raise ModelError(
            f"there are no official weights of {variant!r} to fetch; give a checkpoint with "
            f"--weights, or one of {', '.join(known.removesuffix('-face') for known in KNOWN)}"
        )
    known = cached_models()
    if name not in known:
        raise ModelError(f"{name} is not on this machine; run: faceblur-export weights pull {name}")
    return known[name]
