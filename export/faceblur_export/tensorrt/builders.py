"""What turns an ONNX file into a TensorRT plan: the Python package, or `trtexec`."""

from __future__ import annotations

import importlib
import logging
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from faceblur.errors import ModelError, install_line
from faceblur_export.progress import ShowShare
from faceblur_export.tensorrt.gpu import Gpu

logger = logging.getLogger(__name__)

TRTEXEC_IN_CONTAINERS: Final = "/usr/src/tensorrt/bin/trtexec"
"""Where NVIDIA's containers keep it, off PATH."""

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Profile:
    """Bounds and best shape of `images` (batch, height, width, 3) that a plan is made for."""

    smallest: Shape
    best: Shape
    largest: Shape


class PlanBuilder(Protocol):
    """Builds plans."""

    @property
    def runtime(self) -> str:
        """What runs the plans: `tensorrt` or `tensorrt_rtx`."""

    @property
    def version(self) -> str:
        """Its version; a plan runs on the same version alone."""

    def build(self, onnx: bytes, profiles: Sequence[Profile], progress: ShowShare, /) -> bytes:
        """Build a plan.

        Args:
            onnx: The model; its types are those of the plan.
            profiles: Shapes it must run at.
            progress: Called while it is built.

        Raises:
            ModelError: TensorRT refuses the model.
        """


class PythonBuilder:
    """The Python package `tensorrt`, or `tensorrt_rtx`, which has the same interface.

    Args:
        runtime: Name of the package.
        target: Build for this GPU where it is not the one at hand; TensorRT-RTX alone can.

    Raises:
        ImportError: The package is not installed.
    """

    def __init__(self, runtime: str = "tensorrt", *, target: Gpu | None = None) -> None:
        self._trt: Any = importlib.import_module(runtime)
        self._target = target
        self.runtime = runtime
        self.version = str(self._trt.__version__)

    def build(self, onnx: bytes, profiles: Sequence[Profile], progress: ShowShare) -> bytes:
        """Build a plan, as `PlanBuilder` says."""
        trt = self._trt
        log = _logger(trt)
        builder = trt.Builder(log)
        network = builder.create_network(self._network_flags())
        parser = trt.OnnxParser(network, log)
        if not parser.parse(onnx):
            errors = [str(parser.get_error(i)) for i in range(parser.num_errors)]
            raise ModelError(f"TensorRT cannot read the model: {'; '.join(errors)}")
        config = builder.create_builder_config()
        config.progress_monitor = _monitor(trt, progress)
        if self._target is not None:
            config.num_compute_capabilities = 1
            name = f"SM{self._target.compute_capability.replace('.', '')}"
            config.set_compute_capability(getattr(trt.ComputeCapability, name), 0)
        for profile in profiles:
            shapes = builder.create_optimization_profile()
            shapes.set_shape("images", profile.smallest, profile.best, profile.largest)
            config.add_optimization_profile(shapes)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            reason = log.errors[-1] if log.errors else "no reason given"
            raise ModelError(f"TensorRT cannot build the plan: {reason}")
        return bytes(plan)

    def _network_flags(self) -> int:
        """Take all types from the model; newer releases do so without being asked."""
        flag = getattr(self._trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return 0 if flag is None else 1 << int(flag)


class TrtexecBuilder:
    """The command `trtexec` of NVIDIA's containers.

    Args:
        command: Its path.

    Raises:
        ModelError: It does not say its version.
    """

    runtime = "tensorrt"

    def __init__(self, command: str) -> None:
        self._command = command
        self._help = self._run(["--help"], lambda: None)
        found = re.search(r"TensorRT v(\d+)(\d\d)(\d\d)\]", self._help)
        if found is None:
            raise ModelError(f"{command} does not say which TensorRT it is; update the container")
        self.version = ".".join(str(int(part)) for part in found.groups())

    def build(self, onnx: bytes, profiles: Sequence[Profile], progress: ShowShare) -> bytes:
        """Build a plan, as `PlanBuilder` says."""
        with tempfile.TemporaryDirectory() as folder:
            model, plan = Path(folder, "model.onnx"), Path(folder, "model.plan")
            model.write_bytes(onnx)
            options = [f"--onnx={model}", f"--saveEngine={plan}", "--skipInference"]
            if "--stronglyTyped" in self._help:
                options.append("--stronglyTyped")
            for i, profile in enumerate(profiles):
                options.append(f"--profile={i}")
                for bound in ("smallest", "best", "largest"):
                    sides = "x".join(map(str, getattr(profile, bound)))
                    options.append(f"--{_TRTEXEC_NAMES[bound]}Shapes=images:{sides}")
            output = self._run(options, lambda: progress(None))
            if not plan.is_file():
                errors = [line for line in output.splitlines() if "[E]" in line]
                reason = errors[0] if errors else "it wrote no plan"
                raise ModelError(f"TensorRT cannot build the plan: {reason}")
            return plan.read_bytes()

    def _run(self, options: list[str], each_line: Callable[[], None]) -> str:
        lines = []
        try:
            with subprocess.Popen(
                [self._command, *options],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    lines.append(line)
                    logger.debug("%s", line.rstrip())
                    each_line()
        except OSError as error:
            raise ModelError(f"cannot run {self._command}: {error.strerror}") from error
        return "".join(lines)


_TRTEXEC_NAMES: Final = {"smallest": "min", "best": "opt", "largest": "max"}


def find_builder() -> PlanBuilder:
    """The TensorRT of this machine: the Python package, else `trtexec`.

    Raises:
        ModelError: There is neither.
    """
    try:
        return PythonBuilder()
    except ImportError:
        logger.debug("the Python package tensorrt is not installed")
    command = shutil.which("trtexec") or shutil.which(TRTEXEC_IN_CONTAINERS)
    if command is None:
        raise ModelError(
            "TensorRT is not here: run this in NVIDIA's Triton or TensorRT container, or run: "
            f"{install_line('tensorrt')}"
        )
    return TrtexecBuilder(command)


def _logger(trt: Any) -> Any:
    """A TensorRT logger that writes to ours and keeps the errors."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # a class found at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)
            logger.debug("TensorRT: %s", message)

    return Logger()


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


def _monitor(trt: Any, progress: ShowShare) -> Any:
    """A TensorRT progress monitor that tells the share of the whole that is done."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._phases: dict[str, _Phase] = {}
            self._told = 0.0

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._phases[phase] = _Phase(parent, max(1, steps))

        def step_complete(self, phase: str, step: int) -> bool:
            if phase in self._phases:
                self._phases[phase].done = step + 1
            self._told = max(self._told, self._share(None))
            progress(min(1.0, self._told))
            return True

        def phase_finish(self, phase: str) -> None:
            self._phases.pop(phase, None)

        def _share(self, parent: str | None) -> float:
            children = [name for name, each in self._phases.items() if each.parent == parent]
            shares = [
                (self._phases[name].done + self._share(name)) / self._phases[name].steps
                for name in children
            ]
            return min(1.0, max(shares, default=0.0))

    return Monitor()
