"""How a model is used on GPUs of this machine, or why it is not."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from faceblur.detection.gpu.precision import Precision, chosen_precision
from faceblur.detection.gpu.probe import MIN_INSTANCES, Answer, Question
from faceblur.detection.gpu.trial import GpuUnusableError, answer_of
from faceblur.errors import OutputError, install_line
from faceblur.files import atomic_path, cache_folder, file_sha256
from faceblur.gpus import Gpu

logger = logging.getLogger(__name__)

GpuRuntime = Literal["cuda", "tensorrt"]
PROVIDERS: Final[dict[GpuRuntime, str]] = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}
"""In the order in which they are tried."""

NAMES: Final[dict[str, str]] = {"cuda": "CUDA", "tensorrt": "TensorRT"}

PACKAGES: Final[dict[GpuRuntime, tuple[str, ...]]] = {
    "cuda": ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12"),
    "tensorrt": ("tensorrt-cu13-libs", "tensorrt-cu12-libs"),
}
"""What it takes beside ONNX Runtime, as far as pip brought it."""

_TENSORRT: Final = "libnvinfer.so.10"
"""What ONNX Runtime's TensorRT provider is linked against; TensorRT 11 is another."""

LEAST_MEMORY: Final = 1 << 30
MOST_MEMORY: Final = 4 << 30
WANTED_MEMORY: Final = 3 << 30
"""For each network: every canonical shape, alone and in a full batch, is kept ready in so much."""
_TIMEOUT_S: Final[dict[GpuRuntime, float]] = {"cuda": 180, "tensorrt": 1800}
_VERSION: Final = 3
"""Of the measurement: an older one is made again."""


@dataclass(frozen=True, kw_only=True)
class GpuUse:
    """A model on GPUs, as it was tried and measured.

    Attributes:
        runtime: What runs it.
        provider: ONNX Runtime's name for that.
        onnx: The file that runs: the model itself, or its form in FP16.
        precision: How it computes.
        gpus: Where.
        instances: Networks on each.
        batch: Images in one run, at most.
        full_from: Images that are worth a full batch.
        engines: Folder of what TensorRT builds.
    """

    runtime: GpuRuntime
    provider: str
    onnx: Path
    precision: Precision
    gpus: tuple[Gpu, ...]
    instances: int
    batch: int
    engines: Path | None
    full_from: int = 2

    @property
    def memory_bytes(self) -> int:
        """What one network may take: together at most half of the smallest GPU."""
        share = min(gpu.memory_bytes for gpu in self.gpus) // (2 * self.instances)
        return max(LEAST_MEMORY, min(share, MOST_MEMORY))

    @property
    def where(self) -> str:
        """For a person: `CUDA in FP32 on NVIDIA L4`."""
        names = sorted({gpu.name for gpu in self.gpus})
        count = f"{len(self.gpus)} × " if len(self.gpus) > 1 else ""
        return f"{NAMES[self.runtime]} in {self.precision.upper()} on {count}{', '.join(names)}"

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions whose versions say what ran."""
        return ("onnxruntime-gpu", *PACKAGES[self.runtime])

    def network(self, device: int) -> dict[str, Any]:
        """What `gpu_network.open_network` takes beside the path."""
        return {
            "provider": self.provider,
            "device": device,
            "precision": self.precision,
            "memory_bytes": self.memory_bytes,
            "batch": self.batch,
            "engines": None if self.engines is None else str(self.engines),
        }


def find_use(
    onnx: Path, gpus: Sequence[Gpu], runtimes: Sequence[GpuRuntime], *, cores: int
) -> GpuUse:
    """How the first of some runtimes that works here uses a model.

    What worked is remembered by model, GPU, driver and versions; a new combination is tried and
    measured in a process of its own, which takes seconds, with TensorRT minutes.

    Args:
        onnx: The model.
        gpus: At least one.
        runtimes: In the order in which they are tried.
        cores: CPU cores that decode what it finds.

    Raises:
        GpuUnusableError: None works; the message says why the last one does not.
    """
    objection = ""
    for runtime in runtimes:
        try:
            return _use(onnx, tuple(gpus), runtime, cores)
        except GpuUnusableError as error:
            objection = str(error)
            if runtime != runtimes[-1]:
                logger.info("no %s: %s", NAMES[runtime], objection)
    raise GpuUnusableError(objection)


def tried_runtimes() -> tuple[GpuRuntime, ...]:
    """What is worth trying: CUDA, and before it TensorRT where the right one is installed."""
    spec = importlib.util.find_spec("tensorrt_libs")
    folders = (spec and spec.submodule_search_locations) or ()
    has = any(Path(folder, _TENSORRT).is_file() for folder in folders)
    return ("tensorrt", "cuda") if has else ("cuda",)


def forget(use: GpuUse) -> None:
    """Try and measure again the next time: it did not work after all."""
    _record_path(use.onnx, use.gpus, use.runtime, use.precision).unlink(missing_ok=True)
    if use.engines is not None:
        shutil.rmtree(use.engines, ignore_errors=True)


def _use(onnx: Path, gpus: tuple[Gpu, ...], runtime: GpuRuntime, cores: int) -> GpuUse:
    _check_packages()
    path, precision = chosen_precision(onnx)
    record = _record_path(path, gpus, runtime, precision)
    engines = record.with_suffix(".engines") if runtime == "tensorrt" else None
    plan = GpuUse(
        runtime=runtime,
        provider=PROVIDERS[runtime],
        onnx=path,
        precision=precision,
        gpus=gpus,
        instances=1,
        batch=8,
        engines=engines,
    )
    answer = _remembered(record) or _tried(plan, record, cores)
    if answer.provider != plan.provider:
        raise GpuUnusableError(f"{answer.provider} ran in place of {plan.provider}")
    settings = {f: getattr(plan, f) for f in ("runtime", "provider", "onnx", "precision", "gpus")}
    fitting = min(gpu.memory_bytes for gpu in gpus) // (2 * WANTED_MEMORY)
    instances = min(answer.instances, max(MIN_INSTANCES, fitting))
    return GpuUse(
        **settings,
        instances=instances,
        batch=answer.batch,
        full_from=answer.full_from,
        engines=engines,
    )


def _check_packages() -> None:
    """Refuse what cannot work, without waiting for a process that says so.

    The packages onnxruntime and onnxruntime-gpu write into one folder: the last one wins.
    """
    if _active_build() == "onnxruntime-gpu":
        return
    if _version("onnxruntime-gpu") is None:
        remove = "pip uninstall -y onnxruntime && " if _version("onnxruntime") else ""
        raise GpuUnusableError(
            f"onnxruntime-gpu is not installed; run: {remove}{install_line('gpu')}"
        )
    raise GpuUnusableError(
        "the package onnxruntime covers onnxruntime-gpu; run: pip uninstall -y onnxruntime "
        f"onnxruntime-gpu && {install_line('gpu')}"
    )


def _active_build() -> str:
    """Which package the ONNX Runtime that is imported comes from."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return ""
    with contextlib.suppress(OSError):
        text = (Path(spec.origin).parent / "capi" / "build_and_package_info.py").read_text()
        if found := re.search(r"package_name = '([^']*)'", text):
            return found[1]
    return ""


def _record_path(
    onnx: Path, gpus: tuple[Gpu, ...], runtime: GpuRuntime, precision: Precision
) -> Path:
    key = {
        "version": _VERSION,
        "model": file_sha256(onnx),
        "gpus": [(gpu.name, gpu.driver) for gpu in gpus],
        "runtime": runtime,
        "precision": precision,
        "packages": [_version(name) for name in ("onnxruntime-gpu", *PACKAGES[runtime])],
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "gpu" / f"{digest[:24]}.json"


def _remembered(record: Path) -> Answer | None:
    try:
        return Answer(**json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _tried(plan: GpuUse, record: Path, cores: int) -> Answer:
    where = f"{plan.onnx.stem} on {plan.gpus[0].name}"
    level, what = logging.INFO, f"measuring {where}"
    if plan.runtime == "tensorrt":
        level, what = (
            logging.WARNING,
            f"TensorRT builds its engine for {where}, which takes minutes",
        )
    logger.log(level, "%s, once", what)
    question = Question(
        network={"path": str(plan.onnx)} | plan.network(plan.gpus[0].index), cores=cores
    )
    stdout = answer_of(
        [sys.executable, "-m", "faceblur.detection.gpu.probe"],
        json.dumps(asdict(question)),
        what=what,
        level=level,
        timeout_s=_TIMEOUT_S[plan.runtime],
    )
    try:
        answer = Answer(**json.loads(stdout))
    except (ValueError, TypeError) as error:
        raise GpuUnusableError("its answer cannot be read") from error
    _remember(record, answer)
    return answer


def _remember(record: Path, answer: Answer) -> None:
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(record) as temporary:
            temporary.write_text(json.dumps(asdict(answer)), encoding="utf-8")
    except (OSError, OutputError) as error:
        logger.info("the measurement is not remembered: %s", error)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
