"""What docs/triton-stall.md gives to reproduce the stall runs, and shows it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from resolved_compose import ROOT

from faceblur.detection.triton.ports import free_port
from faceblur.detection.triton.runtime import TritonRuntime
from faceblur.detection.triton.shared_memory import SHM_FOLDER

PAGE = ROOT / "docs" / "triton-stall"
PREFIX = f"faceblur_stall_{os.getpid()}_"
START_TIMEOUT_S = 60.0


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The wheel's server with the two models of the page."""
    runtime = TritonRuntime.find()
    runtime.lay_out_backends(tmp_path / "backends")
    port = free_port("127.0.0.1")
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
        deadline = time.monotonic() + START_TIMEOUT_S
        while "Started GRPCInferenceService" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
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
        timeout=60,
        check=True,
    )
    found = re.fullmatch(
        rf"{model}: 40 requests, \d+ refused, p50 \d+ ms, p99 (\d+) ms\n", done.stdout
    )
    assert found, done.stdout
    return float(found[1])


def test_one_consumer_stalls_and_two_do_not(address: str) -> None:
    one, two = p99_ms(address, "one_consumer"), p99_ms(address, "two_consumers")
    # The batcher wakes up by itself after 500 ms.
    assert one > 450
    assert two < one
