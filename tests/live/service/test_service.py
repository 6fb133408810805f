"""`faceblur run` with real cameras: what it shows, what it hides, what signals do to it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from faceblur.cli import main
from faceblur.live.service.metrics import METRICS
from faceblur.live.stats import DELAY_BUCKETS_S
from rig.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "hunter2 & s3cret/word"
ENCODED = "hunter2%20%26%20s3cret%2Fword"
START_S = 90.0
HELD_UP_S = 60.0
"""A service that has not ended by then is held up: some of its sinks may take twice as long."""


class RefusingRtspServer:
    """Asks everybody for a password and takes none."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.seen = ""
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._refuse, args=(connection,), daemon=True).start()

    def _refuse(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while request := connection.recv(65536).decode("latin-1"):
                self.seen += request
                sequence = request.partition("CSeq: ")[2].partition("\r\n")[0]
                connection.sendall(
                    f"RTSP/1.0 401 Unauthorized\r\nCSeq: {sequence}\r\n"
                    'WWW-Authenticate: Basic realm="camera"\r\n\r\n'.encode()
                )


class RunningService:
    """A `faceblur run` of its own."""

    def __init__(self, folder: Path, server: str, *, rtsp_port: int, silent_port: int) -> None:
        self.file, self.log_file = folder / "cameras.yaml", folder / "log"
        self.recordings = folder / "recordings"
        self.address = f"127.0.0.1:{free_port()}"
        patience = "open_timeout_s: 60, write_timeout_s: 30"
        portrait = ROOT / "docs" / "images" / "before.jpg"
        self.file.write_text(
            f"listen: {self.address}\n"
            f"shutdown_s: {2 * HELD_UP_S:g}\n"
            f"server: {{address: '{server}', deadline_s: 10}}\n"
            "defaults: {deadline_s: 10, source: {open_timeout_s: 60, stall_timeout_s: 30}}\n"
            "cameras:\n"
            "  door:\n"
            f"    source: testpattern:?size=320x240&fps=5&face={portrait}\n"
            f"    sinks: [{{to: 'segments:{self.recordings}', segment_s: 600, {patience}}}]\n"
            "  yard:\n"
            "    source: testpattern:?size=320x240&fps=5\n"
            f"    sinks: [{{to: 'mjpeg:{free_port()}', {patience}}}]\n"
            "  cash desk:\n"
            f"    source: 'rtsp://operator:${{CASH_PASSWORD}}@127.0.0.1:{rtsp_port}/live'\n"
            "    sinks: ['null']\n"
            "  gate:\n"
            "    source: testpattern:?size=160x120&fps=2\n"
            f"    sinks: [{{to: 'rtsp://127.0.0.1:{silent_port}/gate', open_timeout_s: 600}}]\n"
        )
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "faceblur", "run", "--log-format", "json", "-v",
                 str(self.file)],
                env={**os.environ, "CASH_PASSWORD": PASSWORD},
                stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip

    def get(self, page: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{self.address}{page}", timeout=START_S) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.get("/status")[1]))

    def camera(self, name: str) -> dict[str, Any]:
        return next(dict(c) for c in self.status()["cameras"] if c["name"] == name)

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))
        self.process.send_signal(signal.SIGHUP)

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_S
        while not ready():
            assert self.process.poll() is None, self.log_file.read_text()
            assert time.monotonic() < deadline, f"{what}\n{self.log_file.read_text()}"
            time.sleep(0.2)

    def command_lines(self) -> dict[int, str]:
        """Of its child processes, but for what is left of one that has just ended."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == self.process.pid:
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    if line:
                        found[int(folder.name)] = line.decode("utf-8", "replace")
        return found


@pytest.fixture(scope="module")
def rtsp_server() -> Iterator[RefusingRtspServer]:
    server = RefusingRtspServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def service(
    bundled_server: str,
    rtsp_server: RefusingRtspServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningService]:
    """Two cameras that run, one whose password is wrong, and one whose sink never answers.

    The tests use it in their order.
    """
    silent = socket.create_server(("127.0.0.1", 0))
    running = RunningService(
        tmp_path_factory.mktemp("service"),
        bundled_server,
        rtsp_port=rtsp_server.port,
        silent_port=silent.getsockname()[1],
    )
    states = {"door": "running", "yard": "running", "gate": "running", "cash desk": "offline"}
    try:
        running.wait(lambda: running.get("/healthz")[0] == 200, "it does not answer")
        for name, state in states.items():
            running.wait(lambda: running.camera(name)["state"] == state, f"{name} is not {state}")  # noqa: B023
        yield running
    finally:
        silent.close()
        running.process.kill()
        running.process.wait()


def test_readiness_names_the_camera_that_does_not_run(service: RunningService) -> None:
    def reasons() -> list[str]:
        code, text = service.get("/readyz")
        assert code == 503
        return list(json.loads(text)["reasons"])

    service.wait(lambda: len(reasons()) == 1, "the others do not run")
    (reason,) = reasons()
    assert reason.startswith("camera cash desk is offline: ")
    assert "401" in reason or "authoriz" in reason.lower()


def test_health_is_about_the_process_alone(service: RunningService) -> None:
    assert service.get("/healthz") == (200, '{"healthy": true, "reasons": []}\n')
    assert service.get("/")[0] == 404


def test_metrics_are_what_prometheus_reads(service: RunningService) -> None:
    families = {
        family.name: family for family in text_string_to_metric_families(service.get("/metrics")[1])
    }
    assert {row.name.removesuffix("_total") for row in METRICS} <= families.keys()
    values = {
        sample.labels["camera"]: sample.value
        for sample in families["faceblur_camera_frames_checked"].samples
    }
    assert values["door"] > 0
    assert values["cash desk"] == 0
    states = [
        sample.labels["state"]
        for sample in families["faceblur_camera_state"].samples
        if sample.labels["camera"] == "door" and sample.value == 1
    ]
    assert states == ["running"]
    delay = [s for s in families["faceblur_camera_delay_seconds"].samples
             if s.labels["camera"] == "door"]  # fmt: skip
    buckets = [s.value for s in delay if s.name.endswith("_bucket")]
    (count,) = (s.value for s in delay if s.name.endswith("_count"))
    assert len(buckets) == len(DELAY_BUCKETS_S) + 1
    assert buckets == sorted(buckets)
    assert buckets[-1] == count > 0
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6


def test_the_status_is_a_table_and_json(service: RunningService) -> None:
    def run(*options: str) -> str:
        done = CliRunner().invoke(main, ["status", "--address", service.address, *options])
        assert done.exit_code == 0, done.output
        return done.output

    service.wait(lambda: service.camera("door")["frames_masked"] > 0, "no face is masked")
    head, titles, *rows = run("--once").splitlines()
    assert head.startswith("3 of 4 cameras running")
    assert titles.split()[:5] == ["camera", "state", "size", "view", "fps"]
    assert [row.split()[0] for row in rows] == ["door", "yard", "cash", "gate"]
    assert rows[0].split()[1:3] == ["running", "320x240"]
    assert "offline" in rows[2]
    status = json.loads(run("--json"))
    assert [camera["name"] for camera in status["cameras"]] == ["door", "yard", "cash desk", "gate"]
    assert status["cameras"][0]["frames_masked"] > 0


def test_a_changed_file_touches_the_changed_camera_alone(service: RunningService) -> None:
    def pids(name: str) -> set[int]:
        return {pid for pid, line in service.command_lines().items() if f" {name} " in line}

    service.wait(lambda: len(pids("yard")) == len(pids("door")) == 2, "a source and a sink each")
    before, yard, door = service.camera("door"), pids("yard"), pids("door")
    service.edit("fps=5\n", "fps=4\n")
    service.wait(lambda: service.status()["reloads"] == 1, "it was not read again")
    service.wait(lambda: service.camera("yard")["state"] == "running", "yard is not running")
    service.wait(
        lambda: service.camera("door")["frames_in"] > before["frames_in"], "door does not go on"
    )
    assert service.camera("door")["state_since_s"] > before["state_since_s"]
    assert pids("door") == door
    assert not pids("yard") & yard


def test_a_changed_file_with_mistakes_is_not_taken(service: RunningService) -> None:
    good, cameras = service.file.read_text(), service.command_lines()
    service.edit("  yard:\n", "  yard:\n    treshold: 1\n")
    service.wait(lambda: service.status()["reloads_failed"] == 1, "it was not read again")
    assert "did you mean threshold?" in service.status()["reload_error"]
    assert "the changed file was not taken" in CliRunner().invoke(
        main, ["status", "--address", service.address, "--once"]
    ).output  # fmt: skip
    # The others are started again and again, as neither gets anywhere.
    workers = {
        pid for pid, line in service.command_lines().items() if " door " in line or " yard " in line
    }
    assert workers <= set(cameras)
    service.file.write_text(good)


def test_the_password_is_used_and_shown_nowhere(
    service: RunningService, rtsp_server: RefusingRtspServer
) -> None:
    given = re.search(r"Authorization: Basic (\S+)", rtsp_server.seen)
    assert given is not None, "the camera was not given its password"
    assert base64.b64decode(given[1]).decode() == f"operator:{PASSWORD}"
    shown = [service.log_file.read_text(), *service.command_lines().values()]
    shown += [service.get(page)[1] for page in ("/metrics", "/status", "/readyz", "/healthz")]
    shown.append(Path("/proc", str(service.process.pid), "cmdline").read_text())
    for text in shown:
        assert text
        assert PASSWORD not in text
        assert ENCODED not in text
    assert "rtsp://***@127.0.0.1" in shown[0]


def test_every_line_of_the_log_is_json(service: RunningService) -> None:
    text = service.log_file.read_text()
    # The last one may be being written.
    lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    assert {"time", "level", "logger", "thread", "message"} <= lines[0].keys()
    assert any(line["message"] == "camera door is running" for line in lines)


def test_sigterm_ends_it_in_order_with_its_last_file_complete(service: RunningService) -> None:
    written = service.camera("door")["sinks"][0]["frames"]
    service.process.terminate()
    # Nor does the sink hold it up that never answers.
    assert service.process.wait(timeout=HELD_UP_S) == 0
    frames = 0
    for recording in service.recordings.iterdir():
        with av.open(str(recording)) as container:
            frames += sum(1 for _ in container.decode(video=0))
    assert frames >= written > 0
    message = json.loads(service.log_file.read_text().splitlines()[-1])["message"]
    assert message == "stopped"
