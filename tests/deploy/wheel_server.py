"""The tritonserver of the nvidia-pytriton wheel, started by Compose's own command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resolved_compose import ROOT, Service, command_of
from waiting import until

from faceblur.detection import models
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.detection.triton.runtime import TritonRuntime, stage_repository
from faceblur.detection.triton.shared_memory import SHM_FOLDER
from rig.ports import free_port

CANARY = ROOT / "deploy" / "docker" / "canary"
SHM_PREFIX = "compose_command"
START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Served:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    metrics_port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Machine:
    """A folder laid out as the image is: a model repository, and backends."""

    folder: Path
    runtime: TritonRuntime

    @classmethod
    def at(cls, folder: Path) -> Machine:
        runtime = TritonRuntime.find()
        runtime.lay_out_backends(folder / "backends")
        onnx, model = models.find(BUNDLED_MODEL)
        stage_repository(
            folder / "models", onnx=onnx, model=model, instances=2, threads=1, chained=True
        )
        return cls(folder, runtime)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def words(self, triton: Service, ports: tuple[int, int]) -> list[str]:
        """Compose's command with paths and ports of this machine; all else is as it stands."""
        here = {
            "--model-repository=/models": f"--model-repository={self.folder / 'models'}",
            "--grpc-port=8001": f"--grpc-port={ports[0]}",
            "--metrics-port=8002": f"--metrics-port={ports[1]}",
        }
        words = command_of(triton)
        assert set(here) <= set(words)
        return [here.get(word, word) for word in words]

    def start(self, words: list[str], options: str) -> subprocess.Popen[str]:
        environment = self.runtime.environment()
        programs = f"{self.runtime.executable.parent}{os.pathsep}{environment['PATH']}"
        options += f" --backend-directory={self.folder / 'backends'}"
        options += f" --backend-config=python,shm-region-prefix-name={SHM_PREFIX}_{os.getpid()}_"
        with (self.folder / "log").open("w") as log:
            return subprocess.Popen(
                words,
                env={**environment, "PATH": programs, "TRITON_OPTIONS": options},
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    @contextmanager
    def serving(self, triton: Service, *, options: str = "") -> Iterator[Served]:
        """Run a service of Compose, with the one kind of model that the wheel can run."""
        ports = (free_port(), free_port())
        process = self.start(
            self.words(triton, ports), f"--model-config-name=embedded {options}".strip()
        )
        try:
            self._wait(process)
            yield Served(process, *ports)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for region in SHM_FOLDER.glob(f"{SHM_PREFIX}_{os.getpid()}_*"):
                region.unlink()

    def _wait(self, process: subprocess.Popen[str]) -> None:
        def is_started() -> bool:
            assert process.poll() is None, self.log
            return "Started Metrics Service" in self.log

        until(is_started, "Triton has started", within_s=START_TIMEOUT_S)


def canary(
    folder: Path, pid: int, *, server: str = "", options: str = "", programs: Path | None = None
) -> int:
    """Run Compose's health check.

    Args:
        folder: Where it counts.
        pid: The server's process.
        server: Its address.
        options: Of the connection.
        programs: Where `faceblur` is; that of this environment when None.
    """
    path = f"{programs or Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"SERVER": server, "FOLDER": folder, "LIMIT": 2, "PID": pid, "OPTIONS": options}
    done = subprocess.run(
        [CANARY],
        env={**os.environ, "PATH": path, **{f"CANARY_{k}": str(v) for k, v in settings.items()}},
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.returncode
