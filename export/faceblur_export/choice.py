"""The ONNX file that a choice of checkpoint or variant stands for."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceblur.detection.models import cached_models
from faceblur.detection.repository import BUNDLED_MODEL, SHIPPED, shipped_onnx
from faceblur.errors import InputError, ModelError
from faceblur_export.extras import needing
from faceblur_export.weights.known import KNOWN

logger = logging.getLogger(__name__)


@contextmanager
def chosen(
    checkpoint: Path | None = None,
    variant: str | None = None,
    onnx: Path | None = None,
    *,
    name: str | None = None,
    or_bundled: bool = False,
) -> Iterator[Path]:
    """Give the ONNX file of a model.

    Args:
        checkpoint: A checkpoint to export; with `variant`, it must be that variant.
        variant: Alone: the official weights of this variant, which must be in the cache.
        onnx: Alone: an ONNX file that `export_onnx` wrote.
        name: Alone: `bundled`, or official weights, which must be in the cache.
        or_bundled: With `name`: where they are not, warn and take the bundled model.

    Yields:
        The file; for a checkpoint it lasts as long as the block. Without a choice it is the
        bundled model.

    Raises:
        InputError: A file and something else were named.
        ModelError: There is no such model on this machine.
    """
    if name is not None and (checkpoint or variant or onnx):
        raise InputError("give --model alone, or leave it out")
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
        yield _official(f"{variant}-face")
    elif name is not None and name not in SHIPPED:
        yield _official(name, or_bundled=or_bundled)
    else:
        yield shipped_onnx(name or BUNDLED_MODEL)


def _official(name: str, *, or_bundled: bool = False) -> Path:
    if name not in KNOWN:
        raise ModelError(
            f"there are no official weights of {name.removesuffix('-face')!r} to fetch; give a "
            "checkpoint with --weights, or one of "
            + ", ".join(known.removesuffix("-face") for known in KNOWN)
        )
    if path := cached_models().get(name):
        return path
    if or_bundled:
        logger.warning("%s is not on this machine; serving the bundled model instead", name)
        return shipped_onnx()
    raise ModelError(f"{name} is not on this machine; run: faceblur-export weights pull {name}")
