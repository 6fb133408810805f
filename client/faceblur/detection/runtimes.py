"""What runs a model on this machine's CPU: ONNX Runtime, or OpenVINO in bfloat16 where it may.

It may where the CPU computes in bfloat16, OpenVINO is installed, and this very file passed the
accuracy gate so. `FACEBLUR_RUNTIME` says otherwise.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
from pathlib import Path
from typing import Any, Final, Literal

from faceblur.detection.models import open_onnx
from faceblur.detection.repository import load_code
from faceblur.errors import InputError, install_line
from faceblur.files import file_sha256

logger = logging.getLogger(__name__)

Runtime = Literal["onnxruntime", "openvino"]

VARIABLE: Final = "FACEBLUR_RUNTIME"
NAMES: Final[dict[Runtime, str]] = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO in bfloat16",
}
_CPU = Path("/proc/cpuinfo")


def choose(onnx: Path) -> Runtime:
    """What shall run a model.

    Args:
        onnx: Its file.

    Raises:
        InputError: `FACEBLUR_RUNTIME` asks for something else than there is.
    """
    wanted = os.environ.get(VARIABLE) or "auto"
    if wanted not in ("auto", *NAMES):
        raise InputError(f"{VARIABLE} is {wanted!r}; use auto, {' or '.join(NAMES)}")
    if wanted == "onnxruntime":
        return "onnxruntime"
    objection = _objection(onnx)
    if not objection:
        return "openvino"
    level = logging.WARNING if wanted == "openvino" else logging.DEBUG
    logger.log(level, "using ONNX Runtime, not OpenVINO: %s", objection)
    return "onnxruntime"


def open_network(
    path: Path, *, runtime: Runtime, instances: int, threads: int
) -> tuple[Runtime, Any]:
    """Open a model; what cannot run it is replaced by ONNX Runtime, with a warning.

    Args:
        path: Its ONNX file.
        runtime: What shall run it.
        instances: Inferences that may run at the same time.
        threads: CPU threads of each.

    Returns:
        What runs it, and something that is called like an `onnxruntime.InferenceSession`.

    Raises:
        ModelError: ONNX Runtime cannot open it either.
    """
    if runtime == "openvino":
        try:
            code = load_code("yolov5_face", "openvino_network")
            return runtime, code.OpenVinoNetwork(path, streams=instances, threads=threads)
        except Exception as error:  # noqa: BLE001  whatever it was, ONNX Runtime is there
            warn_of(error)
    return "onnxruntime", open_onnx(path, threads=threads)


def warn_of(error: Exception) -> None:
    """Say that OpenVINO was tried and failed."""
    reason = " ".join(str(error).split())[:300]
    logger.warning("using ONNX Runtime, since OpenVINO failed: %s", reason)


def record_path(model: Path) -> Path:
    """Where the accuracy gate leaves what it found of a model in bfloat16."""
    return model.with_name(f"{model.name}.openvino.json")


def has_bfloat16() -> bool:
    """Whether this CPU computes in bfloat16, as far as Linux says."""
    try:
        text = _CPU.read_text()
    except OSError:
        return False
    flags = text.partition("\nflags")[2].partition("\n")[0].split()
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def _objection(onnx: Path) -> str:
    if importlib.util.find_spec("openvino") is None:
        return f"it is not installed; run: {install_line('openvino')}"
    if not has_bfloat16():
        return "this CPU does not compute in bfloat16"
    try:
        record = json.loads(record_path(onnx).read_text(encoding="utf-8"))
        sha256 = record["candidate_sha256"] if record["passed"] is True else ""
    except (OSError, ValueError, KeyError, TypeError):
        sha256 = ""
    if sha256 != file_sha256(onnx):
        return f"{onnx} has not passed the accuracy gate; run: faceblur-export gate --openvino"
    return ""
