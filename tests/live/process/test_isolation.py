"""What hangs, dies or floods does not slow the others."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import cv2
import numpy as np
import pytest
import waiting
from doubles import OneByOne
from running import (
    LIMIT_S,
    PATTERN,
    Run,
    Sightless,
    finish,
    readable,
    shown,
    until,
)

from faceblur.detection.detector import ModelInput
from faceblur.detections import Detections
from faceblur.live import Camera, CameraStats, SinkOptions, parse_sink, parse_source
from faceblur.live.process.backoff import FIRST_PAUSE_S, HEALTHY_S, LONGEST_PAUSE_S, Backoff
from faceblur.live.sinks.sink import Sink
from faceblur.live.sources.options import SourceOptions
from rig.faulty_servers import SilentServer
from rig.ports import free_port
from rig.recorder import recorder

MEASURED_S = 2.0
SLOW_FPS = 5
SLOW_PATTERN = f"testpattern:?size=320x240&fps={SLOW_FPS}"
FAIR_SHARE = 0.7
"""Of its frames that a camera has to show: the machine may be busy, but not all the time."""


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    server = SilentServer()
    yield server
    server.close()


def _rates(cameras: tuple[Camera, ...]) -> list[float]:
    """Frames per second that cameras show, and that the last sink of each takes."""
    before, start_s = _counts(cameras), time.monotonic()
    time.sleep(MEASURED_S)
    after, elapsed_s = _counts(cameras), time.monotonic()
    return [(b - a) / (elapsed_s - start_s) for a, b in zip(before, after, strict=True)]


def _counts(cameras: tuple[Camera, ...]) -> list[int]:
    found = [camera.stats() for camera in cameras]
    return [count for each in found for count in (each.frames_checked, each.sinks[-1].frames)]


def _keep_pace(*cameras: Camera) -> None:
    """Wait until cameras show their share of frames: what slows them does so all the time."""
    waiting.until(lambda: min(_rates(cameras)) > FAIR_SHARE * SLOW_FPS, "they keep their pace")


def _threads() -> set[threading.Thread]:
    """Those that cameras start."""
    return {
        t for t in threading.enumerate() if t.name.startswith(("faceblur-submit", "faceblur-gone"))
    }


def _children(camera: Camera) -> list[int]:
    """Processes of this one that work for a camera, by what their command line ends with."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")
            parent = int(path.with_name("stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        name = camera.options.name.encode()
        is_its = arguments[-2:-1] == [name] and arguments[2].startswith(b"from faceblur.live")
        if is_its and parent == os.getpid():
            found.append(int(path.parent.name))
    return found


def test_pauses_between_attempts_grow_and_are_never_in_step() -> None:
    pauses = [[backoff.pause_s() for _ in range(12)] for backoff in (Backoff(), Backoff())]
    for number, pair in enumerate(zip(*pauses, strict=True)):
        expected_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**number)
        assert all(expected_s / 2 <= pause_s <= expected_s * 1.5 for pause_s in pair)
        assert pair[0] != pair[1]
    backoff = Backoff()
    for _ in range(9):
        backoff.pause_s()
    assert backoff.pause_s(worked_for_s=HEALTHY_S) <= FIRST_PAUSE_S * 1.5


def test_peers_that_accept_and_never_answer_slow_no_camera(silent: SilentServer, run: Run) -> None:
    # What is measured is the cameras, not the detector.
    quick = Sightless()
    cameras = [run(SLOW_PATTERN, name=f"good {number}", detector=quick) for number in range(2)]
    for camera in cameras:
        until(camera, shown(3))
    pushing = run(
        SLOW_PATTERN,
        name="pushing",
        detector=quick,
        sinks=(
            SinkOptions(kind="rtsp", target=f"rtsp://127.0.0.1:{silent.port}/a"),
            SinkOptions(kind="rtmp", target=f"rtmp://127.0.0.1:{silent.port}/live/a"),
            SinkOptions(kind="null"),
        ),
    )
    reading = run(f"rtsp://127.0.0.1:{silent.port}/b", name="reading", detector=quick)
    until(pushing, lambda stats: silent.connections >= 3 and stats.sinks[2].frames > 3)
    # The sink beside those that get stuck takes what there is.
    _keep_pace(*cameras, pushing)
    stats = pushing.stats()
    assert [sink.frames for sink in stats.sinks[:2]] == [0, 0]
    assert min(sink.dropped for sink in stats.sinks[:2]) > 0
    assert reading.stats().frames_in == 0


def test_a_sink_that_gets_stuck_is_killed_and_started_anew(run: Run, tmp_path: Path) -> None:
    sink = SinkOptions(kind="segments", target=str(tmp_path), write_timeout_s=1.5, keyframe_s=0.3)
    camera = run(PATTERN, name="stuck", sinks=(sink, SinkOptions(kind="null")))
    # On a machine that is held up it may be killed before, too.
    until(camera, lambda stats: tmp_path.exists() and readable(*_newest(tmp_path)) > 5)
    before, writer = camera.stats().sinks[0], camera._sinks[0]._child
    (killed,) = _newest(tmp_path)
    assert writer is not None
    with contextlib.suppress(ProcessLookupError):
        os.kill(writer.pid, signal.SIGSTOP)
    stats = until(camera, lambda stats: stats.sinks[0].restarts > before.restarts)
    assert "does not take frames in time" in stats.sinks[0].last_error
    until(camera, lambda stats: all(sink.state == "running" for sink in stats.sinks))
    finish(camera)
    assert killed.suffix == ".part"
    assert readable(killed) > 5, "what was cut off can be read"


def _newest(folder: Path) -> list[Path]:
    """The file that is being written, if there is one."""
    return sorted(folder.glob("*.part"))[-1:]


def test_a_peer_that_stops_reading_shows_as_waiting(run: Run, tmp_path: Path) -> None:
    url = f"rtsp://127.0.0.1:{free_port()}/live/door"
    sink = dataclasses.replace(parse_sink(url), write_timeout_s=3.0, open_timeout_s=LIMIT_S)
    with recorder(url, tmp_path / "seen.mkv") as peer:
        camera = run(
            "testpattern:?size=1280x720&fps=20", name="full", sinks=(sink,), detector=Sightless()
        )
        until(camera, shown(5))
        os.kill(peer._process.pid, signal.SIGSTOP)
        try:
            # Once its buffers are full; the system itself would wait for a quarter of an hour.
            stats = until(camera, lambda stats: stats.sinks[0].state == "waiting")
            tried = stats.sinks[0].restarts + 2

            def is_tried(stats: CameraStats) -> bool:
                assert stats.sinks[0].state == "waiting", "also while it is tried again"
                return stats.sinks[0].restarts >= tried

            until(camera, is_tried)
            camera.stop()
        finally:
            os.kill(peer._process.pid, signal.SIGCONT)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_any_process_of_a_camera_may_die(number: signal.Signals, run: Run) -> None:
    camera = run(
        name=f"mortal {number}",
        options=_replaced(parse_source(PATTERN), stall_timeout_s=1.5),
        sinks=(SinkOptions(kind="null", write_timeout_s=1.5),),
    )
    until(camera, lambda stats: shown(3)(stats) and len(_children(camera)) == 2)
    before = camera.stats()
    for pid in _children(camera):
        # On a machine that is held up it may be gone before.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    again = until(
        camera,
        lambda stats: (
            stats.reconnects > before.reconnects
            and stats.sinks[0].restarts > before.sinks[0].restarts
        ),
    )
    until(
        camera,
        lambda stats: (
            stats.frames_checked > again.frames_checked + 5
            and stats.sinks[0].frames > again.sinks[0].frames + 5
            and stats.state == "running"
        ),
    )


def test_garbage_is_no_image_and_does_no_harm(run: Run) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        generator = random.Random(3)
        while True:
            try:
                client, _ = listener.accept()
                client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mpeg\r\n\r\n")
                for _ in range(50):
                    client.sendall(generator.randbytes(4096))
                client.close()
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    good = run(name="good")
    bad = run(f"http://127.0.0.1:{listener.getsockname()[1]}/video", name="bad")
    until(bad, lambda stats: stats.state == "offline" and stats.frames_placeholder > 3)
    until(good, shown(5))
    assert bad.stats().frames_in == 0
    listener.close()


def test_a_camera_that_floods_slows_nobody_and_builds_no_delay(run: Run) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_flood, args=(listener,), daemon=True).start()
    quick = Sightless()
    good = [run(SLOW_PATTERN, name=f"good {number}", detector=quick) for number in range(2)]
    flood = run(f"http://127.0.0.1:{listener.getsockname()[1]}/", name="flood", detector=quick)
    for camera in (*good, flood):
        until(camera, shown(3))
    _keep_pace(*good)
    stats = until(flood, lambda stats: stats.fps > 5 * SLOW_FPS and stats.frames_checked > 200)
    # All of them would come later and later; where the machine was held up, a few do.
    assert stats.delay.p50_s < 1.0
    listener.close()


def _flood(listener: socket.socket) -> None:
    """Motion JPEG as fast as it is taken."""
    _, jpeg = cv2.imencode(".jpg", np.zeros((240, 320, 3), np.uint8))
    part = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg.tobytes() + b"\r\n"
    with contextlib.suppress(OSError):
        client, _ = listener.accept()
        client.sendall(
            b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
        )
        while True:
            client.sendall(100 * part)


def test_a_camera_that_comes_and_goes_does_not_fill_the_log(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="faceblur")
    camera = run(name="flaps", detector=Sightless())
    until(camera, shown(1))
    camera.stop()
    for state in ("degraded", "running") * 5:
        camera._status.enter(state)
    said = [text for text in caplog.messages if text.startswith("camera flaps is")]
    assert said == [
        f"camera flaps is {state}" for state in ("running", "stopped", "degraded", "running")
    ]


def test_nothing_is_left_of_a_camera_that_was_stopped(run: Run, tmp_path: Path) -> None:
    threads = _threads()
    camera = run(PATTERN, "null", f"segments:{tmp_path}", name="gone")
    until(camera, shown(5))
    waiting.until(lambda: len(_children(camera)) == 3, "a source and two sinks")
    assert finish(camera).state == "stopped"
    waiting.until(lambda: not _children(camera), "no process is left")
    waiting.until(lambda: _threads() <= threads, "no thread is left")
    assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]


def _replaced(source: SourceOptions, **changes: object) -> SourceOptions:
    return dataclasses.replace(source, **changes)


def test_a_slow_detector_costs_frames_and_not_delay(run: Run, detector: object) -> None:
    class Slow(OneByOne):
        model = detector.model  # type: ignore[attr-defined]

        def submit_one(self, model_input: ModelInput, *, min_score: float) -> Future[Detections]:
            time.sleep(0.2)
            return detector.submit([model_input], min_score=min_score)[0]  # type: ignore[attr-defined]

        def close(self) -> None: ...

    camera = run("testpattern:?size=320x240&fps=20", name="slow", detector=Slow())
    stats = until(
        camera,
        lambda stats: stats.frames_checked >= 20 and stats.frames_dropped > stats.frames_checked,
    )
    # Else each would come later than the one before, the twentieth after three seconds; where the
    # machine was held up, a few come late.
    assert stats.delay.p50_s < 1.2


def test_where_no_process_can_be_started_pauses_grow_and_a_lost_frame_counts_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "no more")

    monkeypatch.setattr("faceblur.live.process.supervisor.WorkerProcess", refuse)
    sink = Sink(parse_sink("null"), name="door")
    sink.online, sink._sent[0] = True, (0.0, 0.0)
    now_s = 2 * HEALTHY_S
    sink._fail("it broke after a long time of work", now_s)
    for _ in range(6):
        now_s = sink.due_s()
        sink.poll(now_s)
    assert sink.due_s() - now_s > 8 * FIRST_PAUSE_S
    assert sink.stats().dropped == 1
    assert sink.error == "no process can be started: no more"
