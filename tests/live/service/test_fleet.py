"""The fleet and its pages, with cameras that fail on command; real ones are in test_service."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fleet_doubles import Detector, Opened, camera, refuses, stats, until

from faceblur.cli.status import overview
from faceblur.detection.session import SessionOptions
from faceblur.errors import OutputError
from faceblur.live.config.config import FleetConfig, read_config
from faceblur.live.config.secrets import Secrets
from faceblur.live.detector import ReconnectingDetector
from faceblur.live.process.backoff import Backoff
from faceblur.live.service import fleet as fleet_module
from faceblur.live.service import service as service_module
from faceblur.live.service.fleet import Fleet
from faceblur.live.service.logs import SecretFilter, set_up_logs
from faceblur.live.service.metrics import exporter
from faceblur.live.service.service import Service
from faceblur.live.service.status import ServiceStatus
from faceblur.live.service.web import StatusServer
from faceblur.live.sinks.options import parse_sink
from faceblur.live.stats import HUNG_S, CameraStats


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    monkeypatch.setattr(Backoff, "pause_s", lambda self, worked_for_s=0.0: 0.05)
    return Opened()


def test_only_what_changed_is_stopped_and_started(opened: Opened) -> None:
    fleet = Fleet(Detector(), open_camera=opened)
    assert fleet.apply([camera("a"), camera("b"), camera("c")]).added == ("a", "b", "c")
    changes = fleet.apply([camera("a"), camera("b", lookahead=3), camera("d")])
    assert str(changes) == "started d; changed b; removed c; 1 not touched"
    assert changes.kept == ("a",)
    assert [len(opened.of(name)) for name in "abcd"] == [1, 2, 1, 1]
    assert opened.of("a")[0].state == "running"
    assert [opened.of(name)[0].state for name in "bc"] == ["stopped", "stopped"]
    assert [each.name for each in fleet.stats()] == ["a", "b", "d"]


def test_a_camera_that_was_stopped_stays_so_while_it_is_in_the_file(opened: Opened) -> None:
    fleet = Fleet(Detector(), open_camera=opened)
    fleet.apply([camera("a"), camera("b")])
    fleet.hold("a")
    # As where its lease is lost, and taken again.
    fleet.apply([camera("b")])
    fleet.apply([camera("a"), camera("b")])
    assert [each.state for each in fleet.stats()] == ["stopped", "running"]
    assert len(opened.of("a")) == 1
    fleet.release("a")
    assert [each.state for each in fleet.stats()] == ["running", "running"]
    # One that was removed from the file is another one when it is added again.
    fleet.hold("a")
    fleet.apply([camera("b")])
    fleet.forget_others(["b"])
    fleet.apply([camera("a"), camera("b")])
    assert [each.state for each in fleet.stats()] == ["running", "running"]


def test_a_camera_that_failed_is_started_anew_after_a_pause(opened: Opened) -> None:
    fleet = Fleet(Detector(), open_camera=opened)
    fleet.apply([camera("a"), camera("b")])
    opened.of("a")[0].failed = True
    opened.refuse = 1

    def looks_until(reached: Callable[[], object]) -> None:
        def is_reached() -> object:
            fleet.look()
            assert not fleet.ended
            return reached()

        until(is_reached)

    looks_until(lambda: not opened.refuse)
    away, _ = fleet.stats()
    assert (away.state, away.last_error) == ("starting", "its mask cannot be read")
    assert _status(*fleet.stats()).unready() == ["camera a is starting: its mask cannot be read"]
    looks_until(lambda: len(opened.of("a")) == 2)
    assert opened.of("a")[1].state == "running"
    assert fleet.restarts() == {"a": 2, "b": 0}, "one attempt was refused"
    assert [each.state for each in fleet.stats()] == ["running", "running"]
    assert len(opened.of("b")) == 1


def test_a_camera_whose_loop_hangs_is_seen(opened: Opened) -> None:
    fleet = Fleet(Detector(), open_camera=opened)
    fleet.apply([camera("a"), camera("b")])
    opened.of("a")[0].idle_s = HUNG_S + 1
    hung, well = fleet.stats()
    assert (hung.state, hung.last_error) == ("hung", "its loop has not turned for 31 s")
    assert well.state == "running"
    status = _status(hung, well)
    assert "1 of 2 cameras running" in overview(status.to_json())
    assert "its loop has not turned" in overview(status.to_json())
    metrics = exporter(lambda: status)().decode()
    assert 'faceblur_camera_state{camera="a",state="hung"} 1.0' in metrics
    assert 'faceblur_camera_state{camera="b",state="hung"} 0.0' in metrics


def test_metrics_tell_whether_a_view_is_learnt(opened: Opened) -> None:
    fleet = Fleet(Detector(), open_camera=opened)
    fleet.apply([camera("a"), camera("b"), camera("c")])
    first, second, third = fleet.stats()
    views = [replace(first, view="learning 12%"), replace(second, view="learnt"), third]
    metrics = exporter(lambda: _status(*views))().decode()
    found = re.findall(r'^faceblur_camera_view_learnt\{camera="(.)"\} (\d)', metrics, re.MULTILINE)
    assert found == [("a", "0"), ("b", "1")]


def test_it_has_ended_when_all_cameras_have(opened: Opened) -> None:
    fleet = Fleet(Detector(), open_camera=opened)
    fleet.apply([camera("a"), camera("b")])
    opened.all[0].has_ended = True
    assert not fleet.ended
    opened.all[1].has_ended = True
    assert fleet.ended


def test_a_camera_that_does_not_stop_holds_nobody_up(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "STOP_MARGIN_S", 0.1)
    fleet = Fleet(Detector(), open_camera=opened)
    fleet.apply([camera("stuck"), camera("b"), camera("c")])
    opened.all[0].stop_takes_s = 600
    started = time.monotonic()
    fleet.stop(timeout_s=0.2)
    assert time.monotonic() - started < 60
    until(lambda: [each.stopped_with for each in opened.all] == [None, 0.2, 0.2])


def test_nothing_in_a_changed_file_ends_a_service(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text("listen:\ncameras: {a: {source: testpattern, sinks: ['null']}}\n")
    nobody = ReconnectingDetector(SessionOptions(), open_=refuses)
    service = Service(
        file, guard=SecretFilter(), open_detector=lambda _: nobody, open_camera=opened
    )
    running = threading.Thread(target=service.run)
    running.start()
    try:
        until(lambda: len(opened.all) == 1)
        monkeypatch.setattr(service_module, "load_config", _breaks)
        service.reload()
        until(lambda: service.status().reloads_failed == 1)
        assert service.status().reload_error == "cameras.yaml cannot be read: KeyError: 'odd'"
        until(lambda: "OSError: too many open files" in service.status().detector_failure)
        assert running.is_alive()
        assert opened.all[0].state == "running"
    finally:
        service.stop()
        running.join(60)
    assert not running.is_alive()
    assert opened.all[0].state == "stopped"


def _breaks(_: Path) -> FleetConfig:
    raise KeyError("odd")


def _status(*cameras: CameraStats, **changes: Any) -> ServiceStatus:
    status = ServiceStatus(
        version="1", uptime_s=3723, loop_age_s=0.1, detector="bundled model, server x:1",
        detector_failure="", cameras=cameras, idle_s={each.name: 0.5 for each in cameras},
        restarts={}, reloads=0, reloads_failed=0, reload_error="",
    )  # fmt: skip
    return replace(status, **changes)


def _get(server: StatusServer, page: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://{server.address}{page}", timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.parametrize(
    ("status", "health", "readiness"),
    [
        (_status(stats("a")), [], []),
        (_status(stats("a"), loop_age_s=HUNG_S + 1), ["the service has not moved for 31 s"], []),
        (_status(stats("a"), idle_s={"a": 99}), ["camera a has not moved for 99 s"], []),
        (_status(stats("a"), detector_failure="gone"), [], ["detector: gone"]),
        (_status(stats("a", state="offline", error="no route")), [],
         ["camera a is offline: no route"]),
        (_status(stats("a", state="degraded")), [], ["camera a is degraded"]),
    ],
)  # fmt: skip
def test_health_and_readiness(
    status: ServiceStatus, health: list[str], readiness: list[str]
) -> None:
    with StatusServer("127.0.0.1:0", lambda: status) as server:
        assert _get(server, "/healthz") == (
            503 if health else 200, {"healthy": not health, "reasons": health}
        )  # fmt: skip
        assert _get(server, "/readyz") == (
            503 if readiness else 200, {"ready": not readiness, "reasons": readiness}
        )  # fmt: skip


def test_a_port_that_is_taken_is_named() -> None:
    with (
        StatusServer("127.0.0.1:0", _status) as server,
        pytest.raises(OutputError, match=f"cannot listen at {server.address}: Address already"),
    ):
        StatusServer(server.address, _status)


def test_it_listens_on_this_machine_alone_unless_told_otherwise() -> None:
    text = "cameras: {a: {source: testpattern, sinks: [window]}}"
    config = read_config(text, file="x", secrets=Secrets({}))
    assert config.listen is not None
    assert config.listen.startswith("127.0.0.1:")
    assert parse_sink("mjpeg:8090").target.startswith("127.0.0.1:")


def test_the_table_shows_errors_of_what_does_not_run_alone() -> None:
    cameras = stats("door", error="long ago"), stats("yard", state="offline", error="no route")
    text = overview(_status(*cameras).to_json())
    assert "1 of 2 cameras running · up 1 h 2 min · bundled model, server x:1" in text
    assert "no route" in text
    assert "long ago" not in text
    assert " 330 " in text.splitlines()[2]
    assert max(map(len, overview(_status(*cameras).to_json(), width=40).splitlines())) <= 40


def test_texts_of_a_status_are_cleaned_of_secrets() -> None:
    status = _status(stats("a", error="login with hunter2 failed"), detector_failure="hunter2!")
    text = json.dumps(status.scrubbed(SecretFilter(["hunter2"]).scrub).to_json())
    assert "hunter2" not in text
    assert "login with *** failed" in text


@pytest.mark.parametrize("format_", ["json", "text"])
def test_logs_hide_secrets_in_messages_arguments_and_tracebacks(
    format_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, package = logging.getLogger(), logging.getLogger("faceblur")
    monkeypatch.setattr(root, "handlers", [])
    for logger in (root, package):
        monkeypatch.setattr(logger, "level", logger.level)
    stream = io.StringIO()
    guard = set_up_logs(format_=format_, level=logging.INFO, stream=stream)
    guard.know(["hunter2", "hunter2-and-more", "a"])
    try:
        raise ValueError("rtsp://u:other@host/x and hunter2-and-more")
    except ValueError:
        logging.getLogger("faceblur.live").exception("camera %s: hunter2", "rtsp://u:pw@h/x")
    logging.getLogger("some.library").warning("rtmp://h/app/streamkey")
    text = stream.getvalue()
    for secret in ("hunter2", "other", "pw@", "streamkey", "and-more"):
        assert secret not in text
    assert "camera rtsp://***@h/x: ***" in text
    assert "Traceback" in text
    if format_ == "json":
        first, second = map(json.loads, text.splitlines())
        assert (first["level"], second["logger"]) == ("error", "some.library")


def test_metrics_in_the_docs_are_the_codes() -> None:
    from faceblur.live.service.metrics import METRICS

    page = (Path(__file__).resolve().parents[3] / "docs" / "live.md").read_text()
    rows = [f"| `{row.name}` | {row.kind} | {row.subject} | {row.text} |" for row in METRICS]
    assert [row for row in rows if row not in page] == []
