"""From an RTSP camera to an RTSP server, through whatever happens to cameras."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import waiting
from running import (
    LIMIT_S,
    PATIENCE_S,
    PATTERN,
    SIZE,
    Run,
    Sightless,
    readable,
    received,
    shown,
    until,
)

from faceblur.live import Camera, CameraStats, SourceOptions
from faceblur.live.sinks.sink import SLOTS
from rig.clips import encode_clip
from rig.judge import Judge, Verdict
from rig.ports import free_port
from rig.rtsp import rtsp_server
from rig.viewer import Viewer, viewer

pytestmark = pytest.mark.usefixtures("rtsp")


def _recorded(folder: Path) -> list[Verdict]:
    judge = Judge(SIZE[1])
    return [judge(frame.reformat(*SIZE, "bgr24").to_ndarray()) for frame in received(folder)]


def test_every_frame_is_masked_from_camera_to_server(clip: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    with rtsp_server(
        [f"play:cam:{clip}", f"record:out:{folder}"], credentials="user:pass"
    ) as server:
        camera = run(server.url("cam"), server.url("out"))
        # What was sent was not received yet, least of all by a server that is switched off.
        until(camera, lambda _: readable(*folder.iterdir()) >= 22)
        stats = until(camera, shown(25))
        camera.stop()
        assert "pass" not in repr(stats)
    verdicts = _recorded(folder)
    assert len(verdicts) >= 22
    assert not any(verdict.face or verdict.placeholder for verdict in verdicts)
    assert stats.faces >= 22
    assert 0 < stats.delay.p50_s < LIMIT_S


def test_the_viewers_judge_is_not_blind(clip: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    with rtsp_server([f"play:cam:{clip}", f"record:out:{folder}"]) as server:
        camera = run(server.url("cam"), server.url("out"), detector=Sightless())
        until(camera, lambda _: readable(*folder.iterdir()) >= 8)
        camera.stop()
    verdicts = _recorded(folder)
    assert len(verdicts) >= 8
    assert all(verdict.face for verdict in verdicts)


def test_a_wrong_password_is_said_without_the_password(clip: Path, run: Run) -> None:
    with rtsp_server([f"play:cam:{clip}"], credentials="user:right") as server:
        camera = run(server.url("cam", credentials="user:wrong"))
        stats = until(camera, lambda stats: stats.state == "offline")
    assert "401" in stats.last_error or "nauthorized" in stats.last_error
    assert "wrong" not in stats.last_error
    assert stats.frames_in == 0


def test_ffprobe_understands_it_and_a_server_that_restarts_is_found_again(
    tmp_path: Path, run: Run
) -> None:
    ffprobe = shutil.which("ffprobe")
    if ffprobe is None:
        pytest.skip("needs ffprobe: apt-get install -y ffmpeg")
    url = f"rtsp://127.0.0.1:{free_port()}/blurred"
    probe = subprocess.Popen(
        [ffprobe, "-v", "quiet", "-rtsp_flags", "listen", "-show_streams", "-of", "json", url],
        stdout=subprocess.PIPE,
    )
    try:
        camera = run(PATTERN, url)
        (stream,) = json.loads(probe.communicate(timeout=PATIENCE_S)[0])["streams"]
    finally:
        probe.kill()
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", *SIZE)
    with viewer(url, tmp_path / "seen", size=SIZE) as watching:
        assert watching.wait_for(5, timeout_s=PATIENCE_S)
        judge = Judge(SIZE[1], detect=False)
        assert not any(judge(seen.image).face for seen in watching.seen())
    assert camera.stats().sinks[0].restarts >= 1


def test_a_camera_that_restarts_is_found_again(clip: Path, tmp_path: Path, run: Run) -> None:
    port, url = free_port(), f"rtsp://127.0.0.1:{free_port()}/blurred"
    with viewer(url, tmp_path / "seen", size=SIZE) as watching:
        judge, kinds = Judge(SIZE[1]), list[Verdict]()

        def story() -> str:
            """What was seen so far."""
            kinds.extend(judge(seen.image) for seen in watching.seen(len(kinds)))
            return "".join("-" if verdict.placeholder else "x" for verdict in kinds)

        with rtsp_server([f"play:cam:{clip}"], port=port) as server:
            camera = run(server.url("cam"), url)
            until(camera, shown(10))
            assert watching.wait_for(1, timeout_s=PATIENCE_S)
        until(camera, lambda stats: stats.state == "offline")
        waiting.until(lambda: bool(re.search("x.*-{5,}", story())), "notices")
        with rtsp_server([f"play:cam:{clip}"], port=port):
            before = camera.stats().frames_checked
            stats = until(camera, lambda stats: stats.frames_checked >= before + 5)
            waiting.until(lambda: bool(re.search("x.*-{5,}.*x", story())), "its frames")
    assert stats.reconnects >= 1
    assert not any(verdict.face for verdict in kinds)


def test_a_frozen_stream_is_opened_anew(clip: Path, run: Run) -> None:
    with rtsp_server([f"play:cam:{clip}"]) as server:
        source = SourceOptions(kind="rtsp", url=server.url("cam"), stall_timeout_s=1.5)
        camera = run(options=source)
        until(camera, shown(5))
        server.tell("freeze cam")
        until(camera, lambda stats: stats.state == "offline" and stats.frames_placeholder > 2)
        server.tell("resume cam")
        before = camera.stats().frames_checked
        until(
            camera,
            lambda stats: (
                stats.frames_checked >= before + 5
                and stats.state == "running"
                and stats.reconnects >= 1
            ),
        )


def test_a_change_of_size_or_codec_reaches_the_viewer_fitted(
    clip: Path, tmp_path: Path, run: Run
) -> None:
    larger = encode_clip(tmp_path / "larger.h264", size=(480, 272), frames=40)
    other = encode_clip(tmp_path / "other.h265", size=SIZE, frames=40)
    url = f"rtsp://127.0.0.1:{free_port()}/blurred"
    with (
        rtsp_server([f"play:cam:{clip}"]) as server,
        viewer(url, tmp_path / "seen", size=SIZE) as watching,
    ):
        camera = run(server.url("cam"), url)
        until(camera, shown(10))
        assert watching.wait_for(1, timeout_s=PATIENCE_S)
        connections = camera.stats().sinks[0].restarts
        server.tell(f"switch cam {larger}")
        _shows_more(camera, watching, lambda stats: stats.width == 480)
        fitted = list(watching.seen(watching.count - 1))[-1].image
        reconnects = camera.stats().reconnects
        server.tell(f"switch cam {other}")
        _shows_more(
            camera,
            watching,
            lambda stats: stats.reconnects > reconnects and stats.state == "running",
        )
        judge = Judge(SIZE[1], detect=False)
        verdicts = [judge(seen.image) for seen in watching.seen()]
        stats = camera.stats()
    assert stats.sinks[0].restarts == connections, "its viewers stay connected"
    assert not any(verdict.face for verdict in verdicts)
    assert fitted[:15].max() < 30 < fitted[60:180].mean(), "black above and below"
    assert not any(verdict.placeholder for verdict in verdicts[-3:])


def _shows_more(camera: Camera, watching: Viewer, reached: Callable[[CameraStats], object]) -> None:
    """Wait for a state, and until somebody has received five frames that came after it."""
    written = until(camera, reached).sinks[0].frames
    # What is under way when it is reached came before it.
    assert watching.wait_for(written + SLOTS + 5, timeout_s=PATIENCE_S)
