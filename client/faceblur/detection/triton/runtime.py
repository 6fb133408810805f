"""Find and lay out the tritonserver that the nvidia-pytriton wheel carries."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from faceblur.detection.cores import cpu_share
from faceblur.detection.detector import ModelInfo
from faceblur.detection.gpu.use import GpuUse
from faceblur.detection.options import MAX_SIDE
from faceblur.detection.repository import model_repository
from faceblur.detection.runtimes import CPU_CHOICE, Choice
from faceblur.detection.triton.transports import JPEG_ENSEMBLE, PIXELS_ENSEMBLE
from faceblur.errors import ServerStartError, install_line

JPEG_MODEL = "jpeg_letterbox"
"""The model that only `JPEG_ENSEMBLE` needs."""

POSTPROCESS = "face_postprocess"
"""The model that ensembles of two models need."""

MIN_INSTANCES: Final = 2
"""Of every model, on one core too. With a queue policy Triton hands a batch out only to an instance
that waits, and may find one half a second too late; with a second one that costs nothing."""


QUEUE_DELAY_US: Final = 1000
"""Of waiting, on a GPU, which lets cameras of one shape share a batch."""


def server_share() -> tuple[int, int]:
    """How a server uses this machine's cores: instances of the detector, and threads of each."""
    instances, threads = cpu_share()
    return max(MIN_INSTANCES, instances), threads


@dataclass(frozen=True)
class TritonRuntime:
    """An installed tritonserver: its folder in the wheel, its libraries' and the Python stub."""

    package: Path
    libraries: tuple[Path, ...]
    stub: Path

    @classmethod
    def find(cls) -> TritonRuntime:
        """Look for the wheel's server.

        Raises:
            ServerStartError: This system or interpreter has none; the message says why.
        """
        if sys.platform != "linux":
            raise ServerStartError(f"the embedded Triton server needs Linux, not {sys.platform}")
        # Its package is not imported: that has side effects and takes seconds.
        spec = importlib.util.find_spec("pytriton")
        if spec is None or not spec.submodule_search_locations:
            raise ServerStartError(
                f"the embedded Triton server is not installed; run: {install_line('local')} "
                "(Python 3.10-3.12)"
            )
        folder = Path(next(iter(spec.submodule_search_locations)))
        package = folder / "tritonserver"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stub = package / "python_backend_stubs" / version / "triton_python_backend_stub"
        if not stub.is_file():
            raise ServerStartError(
                f"the embedded Triton server has no stub for Python {version} on "
                f"{platform.machine()}; use Python 3.10-3.12"
            )
        libraries = [folder.parent / "nvidia_pytriton.libs"]
        # The stub is linked against libpython, which lies beside the base interpreter.
        libraries += [Path(p) for p in {sysconfig.get_config_var("LIBDIR")} if p]
        libraries.append(Path(sys.base_prefix) / "lib")
        return cls(package, tuple(dict.fromkeys(libraries)), stub)

    @property
    def version(self) -> str:
        """Version of the wheel."""
        return importlib.metadata.version("nvidia-pytriton")

    @property
    def executable(self) -> Path:
        """The tritonserver program."""
        return self.package / "bin" / "tritonserver"

    def lay_out_backends(self, folder: Path) -> None:
        """Make a backend folder with the stub that fits this interpreter."""
        target = folder / "python"
        target.mkdir(parents=True)
        for file in (self.package / "backends" / "python").iterdir():
            if file.is_file():
                (target / file.name).symlink_to(file)
        (target / self.stub.name).symlink_to(self.stub)

    def environment(self) -> dict[str, str]:
        """Environment for the server: its libraries, and packages for its Python stubs."""
        environment = dict(os.environ)
        paths = [str(path) for path in self.libraries]
        if inherited := environment.get("LD_LIBRARY_PATH"):
            paths.append(inherited)
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(paths)
        # The stub's interpreter ignores PYTHONPATH; it finds its packages from the python3 that is
        # first on the PATH, as a virtual environment's activation would put it.
        environment["PATH"] = os.pathsep.join(
            [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
        )
        # Each library of the stubs would otherwise start a thread per core of its own.
        environment.setdefault("OMP_NUM_THREADS", "1")
        environment.setdefault("OPENBLAS_NUM_THREADS", "1")
        # Huge pages for what malloc gives: the stubs go through megabytes of activations again and
        # again. Other C libraries, and older ones, do not know it and do not mind.
        environment.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
        return environment


def stage_repository(
    folder: Path,
    *,
    onnx: Path,
    model: ModelInfo,
    instances: int,
    threads: int,
    max_side: int = MAX_SIDE,
    choice: Choice = CPU_CHOICE,
    jpeg: bool = True,
    chained: bool = False,
    warm_up: bool = True,
) -> None:
    """Copy the model repository with another detector in it.

    Args:
        folder: Where to; must not exist.
        onnx: The detector's ONNX file.
        model: What the server shall say of it.
        instances: Inferences that run at the same time, on each GPU or on the CPU, at least
            `MIN_INSTANCES`.
        threads: CPU threads of each.
        max_side: Larger canvases are refused, pixels.
        choice: What runs the detector.
        jpeg: Serve images that come as JPEG too.
        chained: Post-process in a model of its own, as the configurations for a GPU do.
        warm_up: Run every canonical shape before the detector counts as ready.
    """
    left_out = ["*.onnx", "*.plan", "*.json", "__pycache__"]
    if not jpeg:
        left_out += [JPEG_ENSEMBLE, JPEG_MODEL]
    if not chained:
        left_out.append(POSTPROCESS)
    shutil.copytree(model_repository(), folder, ignore=shutil.ignore_patterns(*left_out))
    if chained:
        for ensemble in (PIXELS_ENSEMBLE, JPEG_ENSEMBLE):
            shutil.rmtree(folder / ensemble / "configs", ignore_errors=True)
    (folder / "yolov5_face" / "1" / "model.onnx").symlink_to(
        (onnx if choice.use is None else choice.use.onnx).resolve()
    )
    path = folder / "yolov5_face" / "configs" / "embedded.pbtxt"
    config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    values = {
        "model_name": model.name,
        "model_sha256": model.sha256,
        "stride": str(model.stride),
        "threads": str(threads),
        "runtime": choice.runtime,
        "runs_on": choice.where,
        "max_side": str(max_side),
    }
    for key, value in values.items():
        config.parameters[key].string_value = value
    config.instance_group[0].count = instances
    if choice.use is not None:
        _use_gpus(config, choice.use)
    if not warm_up:
        del config.model_warmup[:]
    for warmup in config.model_warmup:
        dims = warmup.inputs["images"].dims
        dims[:2] = [-(-side // model.stride) * model.stride for side in dims[:2]]
    path.write_text(text_format.MessageToString(config))
    if jpeg:
        jpeg_config = folder / JPEG_MODEL / "config.pbtxt"
        _set_parameter(jpeg_config, "stride", str(model.stride))
        _set_parameter(jpeg_config, "max_size", str(max_side))


def _use_gpus(config: Any, use: GpuUse) -> None:
    """Give each GPU its instances, and have requests of one shape share a batch.

    To Triton they are instances on the CPU, for its Python backend leaves the GPU to us; by its
    name an instance knows which is its own.
    """
    group = config.instance_group.pop()
    for gpu in use.gpus:
        config.instance_group.add(name=f"gpu{gpu.index}", kind=group.kind, count=group.count)
    batching = config.dynamic_batching
    del batching.preferred_batch_size[:]
    if use.batch > 1:
        batching.max_queue_delay_microseconds = QUEUE_DELAY_US
    config.max_batch_size = max(use.batch, config.max_batch_size)
    settings = use.network(0) | {"full_from": use.full_from}
    for key, value in settings.items():
        if key != "device":
            config.parameters[f"gpu_{key}"].string_value = "" if value is None else str(value)
    if use.batch > 1:
        for single in list(config.model_warmup):
            batch = config.model_warmup.add()
            batch.CopyFrom(single)
            batch.batch_size = use.batch
            batch.name = single.name.replace("batch 1", f"batch {use.batch}")


def _set_parameter(path: Path, key: str, value: str) -> None:
    config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    config.parameters[key].string_value = value
    path.write_text(text_format.MessageToString(config))
