"""What docs/triton-stall.md gives to reproduce the stall runs, and shows it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from resolved_compose import ROOT
from waiting import until

from faceblur.detection.triton.runtime import TritonRuntime
from faceblur.detection.triton.shared_memory import SHM_FOLDER
from rig.ports import free_port

PAGE = ROOT / "docs" / "triton-stall"
STALL_MS = 450.0
PREFIX = f"faceblur_stall_{os.getpid()}_"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The wheel's server with the two models of the page."""
    runtime = TritonRuntime.find()
    runtime.lay_out_backends(tmp_path / "backends")
    port = free_port()
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [
                str(runtime.executable),
                f"--model-repository={PAGE / 'models'}",
                f"--backend-directory={tmp_path / 'backends'}",
                f"--backend-config=python,shm-region-prefix-name={PREFIX}",
                "--allow-http=false",
                "--allow-metrics=false",
                "--grpc-address=127.0.0.1",
                f"--grpc-port={port}",
            ],
            env=runtime.environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:

        def is_started() -> bool:
            assert process.poll() is None, log.read_text()
            return "Started GRPCInferenceService" in log.read_text()

        until(is_started, "Triton has started")
        yield f"127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for region in SHM_FOLDER.glob(f"{PREFIX}*"):
            region.unlink()


def p99_ms(address: str, model: str) -> float:
    """Run the page's client for a second."""
    done = subprocess.run(
        [sys.executable, PAGE / "client.py", address, model, "1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.fullmatch(
        rf"{model}: 40 requests, \d+ refused, p50 \d+ ms, p99 (\d+) ms\n", done.stdout
    )
    assert found, done.stdout
    return float(found[1])


def test_one_consumer_stalls_and_two_do_not(address: str) -> None:
    # The batcher wakes up by itself after 500 ms.
    assert p99_ms(address, "one_consumer") > STALL_MS
    # A pause of the machine looks like that too, but not in every run.
    until(
        lambda: p99_ms(address, "two_consumers") < STALL_MS,
        "two consumers do not stall",
        within_s=120,
    )
