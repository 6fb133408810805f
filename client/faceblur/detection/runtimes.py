"""What runs a model on this machine: an NVIDIA GPU where one works, else the CPU.

On a GPU it is ONNX Runtime with TensorRT or CUDA, as far as a trial in another process shows. On a
CPU it is ONNX Runtime, or OpenVINO in bfloat16 where the CPU computes in it, OpenVINO is installed,
and this very file passed the accuracy gate so. `FACEBLUR_RUNTIME` says otherwise.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from faceblur.detection.cores import usable_cores
from faceblur.detection.gpu.networks import GpuNetworks
from faceblur.detection.gpu.trial import GpuUnusableError
from faceblur.detection.gpu.use import (
    GpuRuntime,
    GpuUse,
    find_use,
    forget,
    tried_runtimes,
)
from faceblur.detection.models import open_onnx
from faceblur.detection.repository import load_code
from faceblur.errors import InputError, install_line
from faceblur.files import file_sha256
from faceblur.gpus import Gpu, find_gpus

logger = logging.getLogger(__name__)

CpuRuntime = Literal["onnxruntime", "openvino"]
Runtime = Literal["onnxruntime", "openvino", "cuda", "tensorrt"]

VARIABLE: Final = "FACEBLUR_RUNTIME"
NAMES: Final[dict[Runtime, str]] = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO in bfloat16",
    "cuda": "CUDA",
    "tensorrt": "TensorRT",
}
_CPU = Path("/proc/cpuinfo")

_said: set[str] = set()
"""Why the GPU is idle, as far as it was said: once is enough."""


@dataclass(frozen=True)
class Choice:
    """What shall run a model.

    Attributes:
        runtime: What.
        use: How, on a GPU.
    """

    runtime: Runtime
    use: GpuUse | None = None

    @property
    def where(self) -> str:
        """For a person: `ONNX Runtime`, `CUDA in FP32 on NVIDIA L4`."""
        return NAMES[self.runtime] if self.use is None else self.use.where

    @property
    def instances(self) -> int | None:
        """Inferences at the same time, on each GPU, where that was measured."""
        return None if self.use is None else self.use.instances

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions whose versions say what ran."""
        if self.use is not None:
            return self.use.packages
        # The build for GPUs runs on a CPU too.
        builds = ("onnxruntime", "onnxruntime-gpu")
        return builds if self.runtime == "onnxruntime" else (self.runtime,)


CPU_CHOICE: Final = Choice("onnxruntime")
"""What is left where nothing else runs."""


def choose(onnx: Path, *, gpus: Sequence[int] | None = None) -> Choice:
    """What shall run a model.

    Args:
        onnx: Its file.
        gpus: Indices of the GPUs that shall; None is the first one, where that works.

    Raises:
        InputError: `FACEBLUR_RUNTIME` asks for something else than there is, or GPUs were named
            that cannot run it.
    """
    wanted = os.environ.get(VARIABLE) or "auto"
    if wanted not in ("auto", *NAMES):
        raise InputError(f"{VARIABLE} is {wanted!r}; use auto, {', '.join(NAMES)}")
    if gpus is not None:
        if wanted in ("onnxruntime", "openvino"):
            raise InputError(f"{VARIABLE}={wanted} runs no GPU; leave it out, or --gpu")
        return _named(onnx, gpus, wanted)
    if wanted in ("auto", "cuda", "tensorrt") and (choice := _on_gpu(onnx, wanted)):
        return choice
    return Choice(_on_cpu(onnx, wanted))


def _on_gpu(onnx: Path, wanted: str) -> Choice | None:
    found = find_gpus()
    try:
        if found:
            return _tried(onnx, found[:1], wanted)
        reason = "" if wanted == "auto" else f"{VARIABLE} is {wanted}, and no NVIDIA GPU is here"
    except GpuUnusableError as error:
        reason = f"the {found[0].name} is idle and the CPU does its work: {error}"
    if reason and reason not in _said:
        _said.add(reason)
        logger.warning("%s", reason)
    return None


def _named(onnx: Path, indices: Sequence[int], wanted: str) -> Choice:
    found = {gpu.index: gpu for gpu in find_gpus()}
    for index in indices:
        if index not in found:
            have = ", ".join(f"{gpu.index} ({gpu.name})" for gpu in found.values()) or "none"
            raise InputError(f"there is no NVIDIA GPU {index} here, but {have}; see nvidia-smi")
    try:
        return _tried(onnx, [found[index] for index in indices], wanted)
    except GpuUnusableError as error:
        raise InputError(f"the GPU cannot be used: {error}") from error


def _tried(onnx: Path, gpus: Sequence[Gpu], wanted: str) -> Choice:
    runtimes: dict[str, tuple[GpuRuntime, ...]] = {"cuda": ("cuda",), "tensorrt": ("tensorrt",)}
    use = find_use(onnx, gpus, runtimes.get(wanted, tried_runtimes()), cores=usable_cores())
    return Choice(use.runtime, use)


def _on_cpu(onnx: Path, wanted: str) -> CpuRuntime:
    if wanted == "onnxruntime":
        return "onnxruntime"
    objection = _objection(onnx)
    if not objection:
        return "openvino"
    level = logging.WARNING if wanted == "openvino" else logging.DEBUG
    logger.log(level, "using ONNX Runtime, not OpenVINO: %s", objection)
    return "onnxruntime"


def open_network(path: Path, *, choice: Choice, instances: int, threads: int) -> tuple[Choice, Any]:
    """Open a model; what cannot run it is replaced by ONNX Runtime, with a warning.

    Args:
        path: Its ONNX file.
        choice: What shall run it.
        instances: Inferences that may run at the same time.
        threads: CPU threads of each.

    Returns:
        What runs it, and something that is called like an `onnxruntime.InferenceSession`.

    Raises:
        ModelError: ONNX Runtime cannot open it either.
    """
    try:
        if choice.use is not None:
            return choice, GpuNetworks(choice.use, instances=instances)
        if choice.runtime == "openvino":
            code = load_code("yolov5_face", "openvino_network")
            return choice, code.OpenVinoNetwork(path, streams=instances, threads=threads)
    except Exception as error:  # noqa: BLE001  whatever it was, ONNX Runtime is there
        warn_of(error, choice)
    return CPU_CHOICE, open_onnx(path, threads=threads)


def warn_of(error: Exception, choice: Choice) -> None:
    """Say that something was tried and failed."""
    reason = " ".join(str(error).split())[:300]
    if choice.use is not None:
        forget(choice.use)
    name = NAMES[choice.runtime].partition(" ")[0]
    logger.warning("using ONNX Runtime, since %s failed: %s", name, reason)


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
