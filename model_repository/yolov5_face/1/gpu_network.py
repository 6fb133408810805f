"""The detector's ONNX file on an NVIDIA GPU, by ONNX Runtime; called like one of its sessions.

ONNX Runtime goes on with the CPU where a GPU fails, and says so on stderr at most. Here it is an
error, and what really ran the convolutions is read from a profile of the first run.

All in one file, for the package loads it by its path as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import json
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"

OUTPUTS: Final = {"candidates": (3000, 16), "priors": (3000, 5)}

SIDE: Final = 64
"""Of the smallest image: a multiple of every stride."""

FIRST: Final = (1, 384, 640, 3)
"""Shape of the first run: most videos and cameras are 16:9."""

MEMORY_BYTES: Final = 2 << 30
"""What one network may take of the GPU's memory where nobody says how much."""

KEPT_SHAPES: Final = 12
"""Shapes of input that are kept ready: five canonical ones and a tile, in two sizes of batch."""

SESSION_BYTES: Final = 64 << 20
"""Of the GPU's memory that a session is taken to need for itself."""

PIXEL_BYTES: Final = 160
"""The same for each pixel of its input: about twice what activations of the small networks take."""

_LIBRARIES: Final = (
    "libcudart.so.*",
    "libnvJitLink.so.*",
    "libnvrtc.so.*",
    "libcublasLt.so.*",
    "libcublas.so.*",
    "libcufft.so.*",
    "libcurand.so.*",
    "libcudnn.so.*",
    "libnvinfer.so.*",
    "libnvonnxparser.so.*",
)
"""In an order in which each finds what it needs."""


class GpuNetwork:
    """Runs one batch at a time.

    ONNX Runtime's CUDA provider remembers of each convolution the plan for the last shape alone,
    and builds all plans again, for a third of a second, whenever it meets another. So each shape
    has a session to itself, opened when it is first met; those used last are kept. TensorRT has one
    session for all.

    Args:
        path: The ONNX file.
        provider: What shall run it: `CUDA` or `TENSORRT`; `CPU` takes the same way through this
            code.
        device: Index of the GPU.
        precision: "fp32", "tf32" (convolutions round their operands to ten bits) or "fp16", which
            is that of the file.
        memory_bytes: What it may take of the GPU's memory: a bound for each session, and what
            those that are kept are reckoned to take together.
        batch: Images in one run, at most: TensorRT builds for it.
        max_side: Pixels of the longest side of an image: likewise.
        engines: Folder for what TensorRT builds.

    Attributes:
        provider: What really ran the convolutions.
        elsewhere: What of the rest another provider ran, by name of the operation.

    Raises:
        RuntimeError: The provider cannot run it, or something else did.
        ImportError: ONNX Runtime is not installed.
    """

    def __init__(
        self,
        path: Path,
        *,
        provider: str = CUDA,
        device: int = 0,
        precision: str = "fp32",
        memory_bytes: int = MEMORY_BYTES,
        batch: int = 1,
        max_side: int = 2048,
        engines: Path | None = None,
    ) -> None:
        self._provider = provider
        self._path = str(path)
        self._place = "cpu" if provider == CPU else "cuda", device
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._ready: dict[tuple[int, ...], _Bound] = {}
        self._common: Any = None
        self._runtime = import_runtime()
        if provider not in self._runtime.get_available_providers():
            raise RuntimeError(f"this build of ONNX Runtime has no {provider}")
        self._providers = _providers(
            provider,
            device=device,
            precision=precision,
            memory_bytes=memory_bytes,
            shapes=((1, SIDE), (batch, max_side)),
            engines=engines,
        )
        with tempfile.TemporaryDirectory(prefix="faceblur-") as folder:
            session = self._session(profile=Path(folder, "first"))
            bound = _Bound(self._runtime, session, FIRST, self._place)
            first = bound.run(np.zeros(FIRST, np.uint8))
            profile = json.loads(Path(session.end_profiling()).read_text())
        ran = convolution_providers(profile)
        if ran != {provider}:
            raise RuntimeError(
                f"{provider} was asked for, and {', '.join(sorted(ran)) or 'nothing'} ran the "
                "convolutions"
            )
        if not np.isfinite(first[0]).all():
            raise RuntimeError(f"the scores of {provider} are not finite")
        self.provider = provider
        self.elsewhere = operations_elsewhere(profile, provider)
        self._ready[FIRST] = bound
        if provider == TENSORRT:
            self._common = session

    def run(
        self, outputs: Sequence[str], inputs: dict[str, Any], _options: object = None
    ) -> list[Any]:
        """The outputs named, for one batch; as `onnxruntime.InferenceSession.run`."""
        images = np.ascontiguousarray(inputs["images"])
        with self._lock:
            found = dict(zip(OUTPUTS, self._bound(images.shape).run(images), strict=True))
        return [found[name] for name in outputs]

    def _bound(self, shape: tuple[int, ...]) -> _Bound:
        """A session that has met this shape and no other."""
        if shape in self._ready:
            self._ready[shape] = self._ready.pop(shape)
            return self._ready[shape]
        while self._ready and not self._has_room(shape):
            self._ready.pop(next(iter(self._ready))).release()
        try:
            opened = self._open(shape)
        except Exception:  # what else is kept may have left it too little memory
            if not self._ready:
                raise
            opened = None
        if opened is None:
            while self._ready:
                self._ready.popitem()[1].release()
            opened = self._open(shape)
        self._ready[shape] = opened
        return opened

    def _has_room(self, shape: tuple[int, ...]) -> bool:
        shapes = [*self._ready, shape]
        pixels = sum(math.prod(each[:3]) for each in shapes)
        reckoned = SESSION_BYTES * len(shapes) + PIXEL_BYTES * pixels
        return len(shapes) <= KEPT_SHAPES and reckoned <= self._memory_bytes

    def _open(self, shape: tuple[int, ...]) -> _Bound:
        """A session that has built all plans for a shape."""
        bound = _Bound(self._runtime, self._common or self._session(), shape, self._place)
        bound.run(np.zeros(shape, np.uint8))
        return bound

    def _session(self, *, profile: Path | None = None) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        session = self._runtime.InferenceSession(
            self._path, options, providers=self._providers, enable_fallback=0
        )
        session.disable_fallback()
        if (have := session.get_providers())[0] != self._provider:
            raise RuntimeError(
                f"{self._provider} does not load here, and {have[0]} would run in its place"
            )
        return session


class _Bound:
    """A session with memory on the GPU for images of one shape and for what is found in them."""

    def __init__(
        self, runtime: Any, session: Any, shape: tuple[int, ...], place: tuple[str, int]
    ) -> None:
        allocate = runtime.OrtValue.ortvalue_from_shape_and_type
        self._is_view = place[0] == "cpu"
        self._session = session
        self._given = allocate(shape, np.uint8, *place)
        self._results = [
            allocate((shape[0], *rest), np.float32, *place) for rest in OUTPUTS.values()
        ]
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("images", self._given)
        for name, result in zip(OUTPUTS, self._results, strict=True):
            self._binding.bind_ortvalue_output(name, result)

    def run(self, images: Any) -> list[Any]:
        """What is found in images of its shape."""
        self._given.update_inplace(images)
        self._session.run_with_iobinding(self._binding)
        found = [result.numpy() for result in self._results]
        # On a CPU these are views of memory that the next run writes into.
        return [each.copy() for each in found] if self._is_view else found

    def release(self) -> None:
        """Give the memory back: what refers to the session before the session itself."""
        del self._binding, self._results, self._given, self._session


def open_network(path: Path, *, engines: str | Path | None = None, **how: Any) -> GpuNetwork:
    """A `GpuNetwork`; engines of TensorRT that it refuses are built again, once.

    Raises:
        RuntimeError: As for `GpuNetwork`.
        ImportError: As for `GpuNetwork`.
    """
    folder = None if engines is None else Path(engines)
    try:
        return GpuNetwork(path, engines=folder, **how)
    except Exception:
        if folder is None or not any(folder.glob("*")):
            raise
        shutil.rmtree(folder)
        return GpuNetwork(path, engines=folder, **how)


def import_runtime() -> Any:
    """ONNX Runtime, with the CUDA libraries of pip's packages in this process.

    Raises:
        ImportError: It is not installed.
    """
    # Counted as nvidia-smi counts.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    import onnxruntime

    # It warns of each network that CUDA is not loaded in a newer way.
    onnxruntime.set_default_logger_severity(3)
    for library in _libraries():
        with contextlib.suppress(OSError):  # what it was needed for says so better
            ctypes.CDLL(str(library))
    if hasattr(onnxruntime, "preload_dlls"):
        # It prints what it does not find.
        with contextlib.redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()
    return onnxruntime


def _libraries() -> Iterator[Path]:
    """Those of NVIDIA's packages, wherever they are: a package may lie in another folder."""
    folders: list[Path] = []
    for package in ("nvidia", "tensorrt_libs"):
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            folders += [Path(place), *sorted(Path(place).glob("*/lib"))]
    for pattern in _LIBRARIES:
        for folder in folders:
            yield from sorted(folder.glob(pattern))


def _providers(
    provider: str,
    *,
    device: int,
    precision: str,
    memory_bytes: int,
    shapes: tuple[tuple[int, int], tuple[int, int]],
    engines: Path | None,
) -> list[Any]:
    """What ONNX Runtime is to try, in turn; `shapes` are batch and side, of least and most."""
    if provider == CPU:
        return [CPU]
    cuda = {
        "device_id": str(device),
        # Without it memory doubles each time that it is too little.
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": str(memory_bytes),
        # The default tries every algorithm at each new shape and batch, while cameras wait.
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": str(int(precision == "tf32")),
    }
    if provider == CUDA:
        return [(CUDA, cuda), CPU]
    (least, small), (most, large) = shapes
    tensorrt = {
        "device_id": str(device),
        "trt_fp16_enable": str(int(precision == "fp16")),
        "trt_max_workspace_size": str(memory_bytes),
        "trt_profile_min_shapes": f"images:{least}x{small}x{small}x3",
        "trt_profile_opt_shapes": f"images:{most}x384x640x3",
        "trt_profile_max_shapes": f"images:{most}x{large}x{large}x3",
    }
    if engines is not None:
        engines.mkdir(parents=True, exist_ok=True)
        folder = str(engines)
        tensorrt |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": folder,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": folder,
        }
    return [(TENSORRT, tensorrt), (CUDA, cuda), CPU]


def convolution_providers(profile: list[dict[str, Any]]) -> set[str]:
    """Which providers ran convolutions, or what holds some, by a profile of ONNX Runtime."""
    found = set()
    for event in profile:
        arguments = event.get("args", {})
        operation = arguments.get("op_name", "")
        if "Conv" in operation or operation.startswith("TRTKernel"):
            found.add(arguments.get("provider", "?"))
    return found


def operations_elsewhere(profile: list[dict[str, Any]], provider: str) -> tuple[str, ...]:
    """Names of the operations that another provider ran, by a profile of ONNX Runtime."""
    ran = [event.get("args", {}) for event in profile]
    return tuple(
        sorted({a["op_name"] for a in ran if "op_name" in a and a.get("provider") != provider})
    )
