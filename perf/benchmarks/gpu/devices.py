"""What runs a network in this benchmark: a GPU, the CPU, or the GPU's code on the CPU."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.gpu.networks import Network
from faceblur.detection.cores import cpu_share, usable_cores
from faceblur.detection.gpu.use import PROVIDERS, GpuUse, tried_runtimes
from faceblur.detection.models import INPUT, OUTPUTS, open_onnx
from faceblur.detection.repository import load_code
from faceblur.detection.runtimes import CPU_CHOICE, Choice
from faceblur.detection.triton.runtime import server_share
from faceblur.errors import InputError
from faceblur.gpus import Gpu, find_gpus

Runtime = Literal["cuda", "tensorrt", "cpu", "trial"]

CPU_PROVIDER: Final = "CPUExecutionProvider"
NAMES: Final[dict[Runtime, str]] = {
    "cuda": "CUDA",
    "tensorrt": "TensorRT",
    "cpu": "CPU",
    "trial": "the GPU's code on the CPU",
}

Canvas = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Device:
    """What computes.

    Attributes:
        runtime: ONNX Runtime's provider, or how it is imitated.
        gpu: Where; something that only says what it is, without one.
        engines: Folder for what TensorRT builds.
    """

    runtime: Runtime
    gpu: Gpu
    engines: Path | None = None

    @property
    def name(self) -> str:
        """For a table."""
        return NAMES[self.runtime]

    def choice(self, network: Network, *, instances: int, batch: int) -> Choice:
        """How a server runs a network."""
        if self.runtime == "cpu":
            return CPU_CHOICE
        return Choice(
            "tensorrt" if self.runtime == "tensorrt" else "cuda",
            GpuUse(
                runtime="tensorrt" if self.runtime == "tensorrt" else "cuda",
                provider=self._provider(),
                onnx=network.onnx,
                precision=network.precision,
                gpus=(self.gpu,),
                instances=instances,
                batch=batch,
                engines=self._engines(network),
            ),
        )

    def instances(self) -> int:
        """As many as keep a GPU busy with the cores of this machine, or the product's on a CPU."""
        if self.runtime in ("cpu", "trial"):
            return server_share()[0]
        return max(2, min(8, usable_cores() // 2))

    def open(self, network: Network, *, batch: int) -> Callable[[Canvas], list[Any]]:
        """A network without a server: takes (B, H, W, 3), gives its raw outputs in main memory."""
        if self.runtime == "cpu":
            session = open_onnx(network.onnx, threads=cpu_share()[0] * cpu_share()[1])
            return lambda images: list(session.run(OUTPUTS, {INPUT: images}))
        use = self.choice(network, instances=2, batch=batch).use
        assert use is not None
        opened = load_code("yolov5_face", "gpu_network").open_network(
            network.onnx, **use.network(self.gpu.index)
        )
        return lambda images: list(opened.run(OUTPUTS, {INPUT: images}))

    def _provider(self) -> str:
        if self.runtime == "trial":
            return CPU_PROVIDER
        return PROVIDERS["tensorrt" if self.runtime == "tensorrt" else "cuda"]

    def _engines(self, network: Network) -> Path | None:
        if self.runtime != "tensorrt" or self.engines is None:
            return None
        return self.engines / f"{network.name}-{network.precision}"


def cpu_device() -> Device:
    """This machine's CPU, as the product uses it."""
    return Device("cpu", Gpu(0, platform.machine(), "none", 0))


def find_devices(wanted: Sequence[str], engines: Path) -> list[Device]:
    """The devices to measure, the first of them most.

    Args:
        wanted: Names of runtimes; nothing for all that are here.
        engines: Folder for what TensorRT builds.

    Raises:
        InputError: A GPU is wanted, and there is none.
    """
    gpus = find_gpus()
    names = list(wanted) or (list(tried_runtimes())[::-1] if gpus else [])
    if not names or (not gpus and {"cuda", "tensorrt"} & set(names)):
        raise InputError(
            "no NVIDIA GPU is here; give --runtime cpu for this machine's CPU, or --runtime trial "
            "for the GPU's code on it"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    pretended = Gpu(0, "no GPU", "none", memory)
    known: dict[str, Runtime] = {"cuda": "cuda", "tensorrt": "tensorrt", "trial": "trial"}
    return [
        cpu_device() if name == "cpu" else Device(known[name], (*gpus, pretended)[0], engines)
        for name in names
    ]
