"""`faceblur blur` with a server, without one, and with one that it starts."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from addresses import unanswered
from blur_runs import faceblur
from click.testing import CliRunner
from waiting import connect, until

from faceblur.cli import main
from faceblur.detection.triton.channel import open_client
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.server import TritonServer
from rig.ports import free_port


def test_no_server_at_the_address_is_said(photo: Path) -> None:
    with unanswered() as address:
        line = ["blur", str(photo), "--server", address, "--deadline", "30"]
        result = CliRunner().invoke(main, line, prog_name="faceblur")
    assert result.exit_code == 6
    assert "faceblur serve" in result.stderr
    assert not photo.with_name("photo_blurred.jpg").exists()


def test_a_server_is_started_when_there_is_none(official: str, photo: Path) -> None:
    job = faceblur("blur", photo, "--model", official)
    output, errors = job.communicate(timeout=90)
    assert job.returncode == 0, errors
    assert "embedded Triton server" in output
    assert photo.with_name("photo_blurred.jpg").exists()


@pytest.fixture
def served(official: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port()
    process = faceblur("serve", "--port", str(port), "--model", official)
    assert process.stdout is not None
    assert "serving" in process.stdout.readline()
    yield process, f"127.0.0.1:{port}"
    process.kill()
    process.wait()


def test_serve_stays_up_and_stops_in_order(
    served: tuple[subprocess.Popen[str], str], photo: Path
) -> None:
    process, address = served
    line = ["blur", str(photo), "--server", address]
    assert CliRunner().invoke(main, line).exit_code == 0
    doctor = CliRunner().invoke(main, ["doctor", "--server", address])
    assert doctor.exit_code == 0, doctor.output
    assert address in doctor.output
    _assert_killed_clients_are_forgotten(address)
    dumped = Path("/proc", str(process.pid), "coredump_filter").read_text()
    assert int(dumped, 16) == 0, "a crash would write images to the disk"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143


def _assert_killed_clients_are_forgotten(address: str) -> None:
    lines = "from faceblur.detection.triton.connection import Connection"
    lines += "; from faceblur.detection.triton.client import TritonDetector"
    lines += f"; TritonDetector(Connection(address={address!r}, transport='shm'))"
    client = subprocess.Popen(
        [sys.executable, "-c", f"{lines}; print('open', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert client.stdout is not None
    try:
        assert client.stdout.readline() == b"open\n"
        with open_client(Connection(address=address)) as asking:
            connect(asking)

            def regions() -> bool:
                return bool(asking.get_system_shared_memory_status(client_timeout=30).regions)

            assert regions()
            client.kill()
            client.wait()
            until(lambda: not regions(), "the server lets go of the images of a client that died")
    finally:
        client.kill()
        client.communicate()


def test_without_a_server_the_same_model_runs_in_process(
    official: str, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faceblur.detection.triton.runtime import TritonRuntime
    from faceblur.errors import ServerStartError

    def nowhere() -> TritonRuntime:
        raise ServerStartError("the embedded Triton server needs Linux, not win32")

    monkeypatch.setattr(TritonRuntime, "find", nowhere)
    result = CliRunner().invoke(main, ["blur", str(photo), "--model", official])
    assert result.exit_code == 0, result.output
    assert "in this process" in result.stderr
    assert "this process" in result.stdout


def test_no_server_is_started_when_none_is_wanted(
    official: str, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(TritonServer, "start", pytest.fail)
    line = ["blur", str(photo), "--in-process", "--model", official]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 0, result.output
    assert "this process" in result.stdout
    assert result.stderr == ""
