"""Open a detector's ONNX file with ONNX Runtime, and read what it says of itself."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import Any

from faceblur.detector import ModelInfo
from faceblur.errors import ModelError
from faceblur.extras import install_line

INPUT = "images"
OUTPUTS = ("candidates", "priors")


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
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        stride=int(metadata.get("stride", 32)),
    )
