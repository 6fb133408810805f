"""The command that Compose gives to Triton, run by the server of the nvidia-pytriton wheel."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as grpcclient
from resolved_compose import resolve
from tritonclient.utils import InferenceServerException
from wheel_server import Machine, Served, canary

from faceblur.detection import models
from faceblur.detection.triton.client import ENSEMBLE
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions


@pytest.fixture(scope="module")
def served(machine: Machine) -> Iterator[Served]:
    with machine.serving(resolve("gpu")["triton"]) as served:
        yield served


def test_the_server_starts_and_finds_the_face(served: Served, tmp_path: Path) -> None:
    assert canary(tmp_path, served.process.pid, server=served.address) == 0


def test_metrics_are_served_and_http_is_not(served: Served, machine: Machine) -> None:
    with socket.create_connection(("127.0.0.1", served.metrics_port), timeout=60):
        pass
    assert "HTTPService" not in machine.log


def _closed(address: str) -> list[str]:
    """Which of the calls that a client has no need of are refused."""
    refused = []
    with grpcclient.InferenceServerClient(address) as client:
        calls: dict[str, Callable[[], object]] = {
            "shared memory": lambda: client.get_system_shared_memory_status(client_timeout=60),
            "repository": lambda: client.get_model_repository_index(client_timeout=60),
            "load": lambda: client.load_model(ENSEMBLE, client_timeout=60),
            "trace": lambda: client.get_trace_settings(client_timeout=60),
            "log": lambda: client.get_log_settings(client_timeout=60),
            "ready": lambda: client.is_model_ready(ENSEMBLE, client_timeout=60),
        }
        for name, call in calls.items():
            try:
                call()
            except InferenceServerException as error:
                refused += [name] if "protocol is restricted" in str(error) else []
    return refused


def test_what_clients_do_not_need_is_closed(served: Served) -> None:
    assert _closed(served.address) == ["shared memory", "repository", "load", "trace", "log"]


def test_a_server_without_that_option_is_open(official: str) -> None:
    onnx, model = models.find(official)
    options = ServerOptions(onnx=onnx, model=model, jpeg=False, warm_up=False, closed=())
    with TritonServer(options) as server:
        assert "shared memory" not in _closed(server.address)


@pytest.mark.parametrize(("profile", "backend"), [("gpu", "tensorrt"), ("cpu", "onnxruntime")])
def test_each_profile_asks_for_its_own_backend(
    machine: Machine, profile: str, backend: str
) -> None:
    # The wheel carries neither, so this is as far as it goes: it must want the right one.
    triton = resolve(profile)["triton" if profile == "gpu" else "triton-cpu"]
    process = machine.start(machine.words(triton, (1, 2)), triton["environment"]["TRITON_OPTIONS"])
    assert process.wait(timeout=120) != 0
    assert f"unable to find backend library for backend '{backend}'" in machine.log


def test_an_option_that_does_not_exist_is_noticed(machine: Machine) -> None:
    words = machine.words(resolve("gpu")["triton"], (1, 2))
    process = machine.start([*words, "--strict-rediness=true"], "")
    assert process.wait(timeout=120) != 0
    assert "unrecognized option" in machine.log


def test_a_server_that_is_ready_but_blind_is_unhealthy(served: Served, tmp_path: Path) -> None:
    # Last of those that need the server: it does not recover.
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text()
    stubs = [int(pid) for pid in children.split()]
    assert stubs
    for stub in stubs:
        os.kill(stub, signal.SIGKILL)
    with grpcclient.InferenceServerClient(served.address) as client:
        assert client.is_server_ready(client_timeout=60)
    assert canary(tmp_path, served.process.pid, server=served.address) == 1


def test_a_server_is_ended_when_it_went_blind_and_not_while_it_starts(tmp_path: Path) -> None:
    verdict = tmp_path / "verdict"
    command = tmp_path / "faceblur"
    command.write_text(f"#!/bin/sh\nexit $(cat {verdict})\n")
    command.chmod(0o755)
    with subprocess.Popen(["sleep", "600"]) as server:

        def look(sees: bool) -> bool:
            verdict.write_text("0" if sees else "6")
            assert canary(tmp_path, server.pid, programs=tmp_path) == (0 if sees else 1)
            return server.poll() is None

        assert all(look(sees) for sees in (False, False, False, True, False, True, False))
        look(False)
        assert server.wait(timeout=60) == -signal.SIGTERM
