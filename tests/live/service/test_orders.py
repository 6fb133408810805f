"""Orders to a running service: who may give them, and what cameras do."""

from __future__ import annotations

import os
import signal
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from fleet_doubles import Opened, refuses, until

from faceblur.detection.session import SessionOptions
from faceblur.errors import InputError, ServerUnavailableError
from faceblur.live.detector import ReconnectingDetector
from faceblur.live.process.backoff import Backoff
from faceblur.live.service.control import Control, can_order, give_order, service_views
from faceblur.live.service.logs import SecretFilter
from faceblur.live.service.service import Service
from faceblur.live.service.signals import obeying_signals
from faceblur.live.views import View


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_waits_for_no_lock_of_what_it_interrupts(number: signal.Signals) -> None:
    lock, told = threading.Lock(), threading.Event()

    class Locking:
        def stop(self) -> None:
            # As that of a threading.Event, which this very thread may have.
            if lock.acquire(timeout=20):
                lock.release()
                told.set()

        reload = stop

    before = signal.getsignal(number)
    with obeying_signals(Locking()), lock:
        signal.raise_signal(number)
    assert told.wait(20)
    assert signal.getsignal(number) is before


def _asked(
    address: str,
    authorization: str,
    body: bytes | None = b'{"do": "reload"}',
    *,
    page: str = "/control",
) -> int:
    request = urllib.request.Request(f"http://{address}{page}", data=body)
    request.add_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_cameras_are_stopped_and_started_by_who_can_read_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "pause_s", lambda self, worked_for_s=0.0: 0.05)
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    opened = Opened()
    file = tmp_path / "cameras.yaml"
    camera = "{source: testpattern, sinks: ['null']}"
    other = "{source: testpattern, sinks: ['rtmp://127.0.0.1:9/live/k3y']}"
    file.write_text(f"listen: 127.0.0.1:0\ncameras: {{a: {camera}, b: {other}}}\n")
    service = Service(
        file,
        guard=SecretFilter(),
        open_detector=lambda _: ReconnectingDetector(SessionOptions(), open_=refuses),
        open_camera=opened,
    )
    address = service.address
    assert address is not None
    (token,) = (runtime / "faceblur").iterdir()
    assert token.stat().st_mode & 0o777 == 0o600
    running = threading.Thread(target=service.run)
    running.start()
    try:
        until(lambda: len(opened.all) == 2)
        for wrong in ("", "Bearer ", "Bearer x", f"Basic {token.read_text()}"):
            assert _asked(address, wrong) == 403
        right = f"Bearer {token.read_text()}"
        assert _asked(address, right, b'{"do": "end"}') == 422
        assert _asked(address, right, b"[]") == 422
        assert _asked(address, right, b" " * 20_000) == 413
        with pytest.raises(InputError, match="there is no camera 'c'"):
            give_order(address, "stop", "c")
        # Where cameras can be watched only who has the token is told.
        assert service_views(address) == {
            "a": (View(why="null", sink="null"),),
            "b": (
                View(
                    kind="rtmp",
                    url="rtmp://127.0.0.1:9/live/k3y",
                    sink="rtmp://127.0.0.1:9/live/***",
                ),
            ),
        }
        for wrong in ("", "Bearer x"):
            assert _asked(address, wrong, None, page="/control/views") == 403
        with urllib.request.urlopen(f"http://{address}/status", timeout=60) as reply:
            assert b"k3y" not in reply.read()
        give_order(address, "stop", "a")
        until(lambda: opened.of("a")[0].state == "stopped")
        # Nothing but an order starts it, and the service goes on without it.
        give_order(address, "stop", "b")
        until(lambda: opened.of("b")[0].state == "stopped")
        assert [each.state for each in service.status().cameras] == ["stopped", "stopped"]
        file.write_text(file.read_text().replace("{a: {", "{a: {lookahead: 3, "))
        give_order(address, "reload")
        until(lambda: service.status().reloads == 1)
        assert running.is_alive()
        assert len(opened.all) == 2
        give_order(address, "start", "a")
        until(lambda: len(opened.of("a")) == 2)
        assert opened.of("a")[1].options.lookahead == 3
        until(lambda: [each.state for each in service.status().cameras] == ["running", "stopped"])
        # Others could have read it.
        token.chmod(0o640)
        assert not can_order(address)
        with pytest.raises(ServerUnavailableError, match="takes orders from this user"):
            give_order(address, "start", "b")
        with pytest.raises(ServerUnavailableError, match="takes orders from this user"):
            service_views(address)
    finally:
        service.stop()
        running.join(60)
    assert not running.is_alive()
    assert not token.exists()


def test_where_the_system_knows_no_owners_there_is_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delattr(os, "getuid")
    control = Control("127.0.0.1:9180")
    assert "no page can stop or start cameras" in caplog.text
    assert not control.allows("127.0.0.1", "Bearer ")
    assert list((tmp_path / "faceblur").iterdir()) == []
