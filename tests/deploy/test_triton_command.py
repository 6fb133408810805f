"""The command that Compose gives to Triton, run by the server of the nvidia-pytriton wheel."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tritonclient.grpc as grpcclient
from resolved_compose import ROOT, command_of, resolve
from tritonclient.utils import InferenceServerException

from faceblur import models
from faceblur.defaults import BUNDLED_MODEL
from faceblur.sessions import DetectionSession
from faceblur.triton import ENSEMBLE
from faceblur.triton_runtime import TritonRuntime, lay_out_repository
from faceblur.triton_server import SHM_FOLDER, free_port

SHM_PREFIX = "compose_command"
CANARY = ROOT / "deploy" / "docker" / "canary"


@dataclass(frozen=True)
class Machine:
    """A folder laid out as the image is: where `tritonserver` and its backends are found."""

    folder: Path
    runtime: TritonRuntime

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

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


@dataclass(frozen=True)
class Served:
    """A running server."""

    process: subprocess.Popen[str]
    port: int
    metrics_port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    folder = tmp_path_factory.mktemp("image")
    runtime = TritonRuntime.find()
    runtime.lay_out_backends(folder / "backends")
    onnx, model = models.find(BUNDLED_MODEL)
    lay_out_repository(folder / "models", onnx=onnx, model=model, instances=1, threads=1)
    return Machine(folder, runtime)


def words_for(machine: Machine, profile: str, ports: tuple[int, int]) -> list[str]:
    """Compose's command with the paths and ports of this machine; all else is as it stands."""
    name = "triton" if profile == "gpu" else f"triton-{profile}"
    here = {
        "--model-repository=/models": f"--model-repository={machine.folder / 'models'}",
        "--grpc-port=8001": f"--grpc-port={ports[0]}",
        "--metrics-port=8002": f"--metrics-port={ports[1]}",
    }
    words = command_of(resolve(profile)[name])
    assert set(here) <= set(words)
    return [here.get(word, word) for word in words]


@pytest.fixture(scope="module")
def served(machine: Machine) -> Iterator[Served]:
    ports = (free_port("127.0.0.1"), free_port("127.0.0.1"))
    process = machine.start(words_for(machine, "gpu", ports), "--model-config-name=embedded")
    try:
        _wait(lambda: "Started Metrics Service" in machine.log or process.poll() is not None, 60)
        assert process.poll() is None, machine.log
        yield Served(process, *ports)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for region in SHM_FOLDER.glob(f"{SHM_PREFIX}_{os.getpid()}_*"):
            region.unlink()


def canary(folder: Path, pid: int, *, server: str = "", programs: Path | None = None) -> int:
    """Run Compose's health check.

    Args:
        folder: Where it counts.
        pid: The server's process.
        server: Its address.
        programs: Where `faceblur` is; that of this environment when None.
    """
    path = f"{programs or Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"SERVER": server, "FOLDER": folder, "LIMIT": 2, "PID": pid}
    done = subprocess.run(
        [CANARY],
        env={**os.environ, "PATH": path, **{f"CANARY_{k}": str(v) for k, v in settings.items()}},
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode


def test_the_server_starts_and_finds_the_face(served: Served, tmp_path: Path) -> None:
    assert canary(tmp_path, served.process.pid, server=served.address) == 0


def test_metrics_are_served_and_http_is_not(served: Served, machine: Machine) -> None:
    with socket.create_connection(("127.0.0.1", served.metrics_port), timeout=5):
        pass
    assert "HTTPService" not in machine.log


def _closed(address: str) -> list[str]:
    """Which of the calls that a client has no need of are refused."""
    refused = []
    with grpcclient.InferenceServerClient(address) as client:
        calls: dict[str, Callable[[], object]] = {
            "shared memory": lambda: client.get_system_shared_memory_status(client_timeout=5),
            "repository": lambda: client.get_model_repository_index(client_timeout=5),
            "load": lambda: client.load_model(ENSEMBLE, client_timeout=5),
            "trace": lambda: client.get_trace_settings(client_timeout=5),
            "log": lambda: client.get_log_settings(client_timeout=5),
            "ready": lambda: client.is_model_ready(ENSEMBLE, client_timeout=5),
        }
        for name, call in calls.items():
            try:
                call()
            except InferenceServerException:
                refused.append(name)
    return refused


def test_what_clients_do_not_need_is_closed(served: Served) -> None:
    assert _closed(served.address) == ["shared memory", "repository", "load", "trace", "log"]


def test_a_server_without_that_option_is_open(session: DetectionSession) -> None:
    assert session.server is not None
    assert "shared memory" not in _closed(session.server.address)


@pytest.mark.parametrize(
    ("profile", "options", "backend"), [("gpu", "", "tensorrt"), ("cpu", None, "onnxruntime")]
)
def test_each_profile_asks_for_its_own_backend(
    machine: Machine, profile: str, options: str | None, backend: str
) -> None:
    # The wheel carries neither, so this is as far as it goes: it must want the right one.
    if options is None:
        options = resolve(profile)[f"triton-{profile}"]["environment"]["TRITON_OPTIONS"]
    ports = (free_port("127.0.0.1"), free_port("127.0.0.1"))
    process = machine.start(words_for(machine, profile, ports), options)
    assert process.wait(timeout=60) != 0
    assert f"unable to find backend library for backend '{backend}'" in machine.log


def test_an_option_that_does_not_exist_is_noticed(machine: Machine) -> None:
    words = words_for(machine, "gpu", (1, 2))
    process = machine.start([*words, "--strict-rediness=true"], "")
    assert process.wait(timeout=60) != 0
    assert "unrecognized option" in machine.log


def test_a_server_that_is_ready_but_blind_is_unhealthy(served: Served, tmp_path: Path) -> None:
    # Last of those that need the server: it does not recover.
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text()
    stubs = [int(pid) for pid in children.split()]
    assert stubs
    for stub in stubs:
        os.kill(stub, signal.SIGKILL)
    with grpcclient.InferenceServerClient(served.address) as client:
        assert client.is_server_ready(client_timeout=5)
    assert canary(tmp_path, served.process.pid, server=served.address) == 1


def test_a_server_is_ended_when_it_went_blind_and_not_while_it_starts(tmp_path: Path) -> None:
    verdict = tmp_path / "verdict"
    command = tmp_path / "faceblur"
    command.write_text(f"#!/bin/sh\nexit $(cat {verdict})\n")
    command.chmod(0o755)
    with subprocess.Popen(["sleep", "60"]) as server:

        def look(sees: bool) -> bool:
            verdict.write_text("0" if sees else "6")
            assert canary(tmp_path, server.pid, programs=tmp_path) == (0 if sees else 1)
            return server.poll() is None

        assert all(look(sees) for sees in (False, False, False, True, False, True, False))
        look(False)
        assert server.wait(timeout=5) == -signal.SIGTERM


def _wait(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
