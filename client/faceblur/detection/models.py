"""Models by name: the two bundled ones, and those that `faceblur-export weights pull` fetched."""

from __future__ import annotations

import contextlib
import importlib
import json
from pathlib import Path
from typing import Any, Final, Literal

from faceblur.detection.detector import ModelInfo
from faceblur.detection.repository import (
    BUNDLED_MODEL,
    FAST_MODEL,
    SHIPPED,
    shipped_onnx,
    shipped_record,
)
from faceblur.errors import ModelError, install_line
from faceblur.files import cache_folder, file_sha256

Media = Literal["image", "video", "camera"]
"""What faces are looked for in."""

_AUTOMATIC: Final[dict[Media, str]] = {
    "image": BUNDLED_MODEL,
    "video": FAST_MODEL,
    "camera": FAST_MODEL,
}
"""Tracking finds in a video what one image alone does not show, and the network of `bundled` takes
three times as long."""

INPUT = "images"

OUTPUTS = ("candidates", "priors")


def cached_models() -> dict[str, Path]:
    """The models that were fetched and exported, by name."""
    return {path.stem: path for path in sorted(cache_folder().glob("models/*.onnx"))}


def automatic_model(media: Media) -> str:
    """Name of the model that looks for faces where nobody chose one."""
    return _AUTOMATIC[media]


def find(name: str) -> tuple[Path, ModelInfo]:
    """Find a model's ONNX file.

    Args:
        name: `bundled` or `fast`, the name of a fetched model, or the path of an ONNX file.

    Raises:
        ModelError: There is none; the message says how to get one.
    """
    if name in SHIPPED:
        return _shipped(name)
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


def _shipped(name: str) -> tuple[Path, ModelInfo]:
    path = shipped_onnx(name)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads(shipped_record().read_text(encoding="utf-8"))[name]
        sha256 = file_sha256(path, refusal=ModelError)
        # Of the very file that it speaks of the record is believed: opening that takes longer.
        if said["sha256"] == sha256:
            return path, ModelInfo(name, sha256, int(said["stride"]))
    return path, read_model_info(path, name=name)


def matches(model: ModelInfo, wanted: str) -> bool:
    """Whether what a server serves is the wanted model, by name or by the file's hash."""
    if wanted == model.name:
        return True
    try:
        return find(wanted)[1].sha256 == model.sha256
    except ModelError:
        return False


def open_onnx(path: Path, *, threads: int) -> Any:
    """Open an `onnxruntime.InferenceSession` on the CPU.

    Args:
        path: An ONNX file that `faceblur-export onnx` wrote.
        threads: CPU threads of one inference.

    Raises:
        ModelError: ONNX Runtime is missing, or the file is not such a model.
    """
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ModelError(f"ONNX Runtime is not installed; run: {install_line('local')}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no importable base
        raise ModelError(f"{path} cannot be loaded as an ONNX model: {error}") from error
    inputs = tuple(tensor.name for tensor in session.get_inputs())
    outputs = tuple(tensor.name for tensor in session.get_outputs())
    if inputs != (INPUT,) or outputs != OUTPUTS:
        raise ModelError(
            f"{path} is not a faceblur detector (inputs {', '.join(inputs)}; outputs "
            f"{', '.join(outputs)}); make one with: faceblur-export onnx"
        )
    return session


def read_model_info(path: Path, *, name: str | None = None) -> ModelInfo:
    """Read name, hash and stride of an ONNX file; `name` overrides the one it carries.

    Raises:
        ModelError: It is not such a model.
    """
    return describe(open_onnx(path, threads=1), path, name=name)


def describe(session: Any, path: Path, *, name: str | None = None) -> ModelInfo:
    """What an open session and its file say of the model."""
    metadata = session.get_modelmeta().custom_metadata_map
    return ModelInfo(
        name=name or metadata.get("name") or path.stem,
        sha256=file_sha256(path, refusal=ModelError),
        stride=int(metadata.get("stride", 32)),
    )
