"""From an RTSP camera to an RTSP server, through whatever happens to cameras."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import av
import pytest
from running import PATTERN, SIZE, Run, Sightless, shown, until

from faceblur.detection.triton.ports import free_port
from faceblur.live import Camera, SourceOptions
from rig.clips import FPS, encode_clip
from rig.judge import Judge, Verdict
from rig.rtsp import rtsp_server
from rig.viewer import Viewer, viewer

pytestmark = pytest.mark.usefixtures("rtsp")


def _recorded(folder: Path) -> list[Verdict]:
    judge = Judge(SIZE[1])
    verdicts = []
    for path in sorted(folder.iterdir()):
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                verdicts.append(judge(frame.reformat(*SIZE, "bgr24").to_ndarray()))
    return verdicts


def test_every_frame_is_masked_from_camera_to_server(clip: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    with rtsp_server(
        [f"play:cam:{clip}", f"record:out:{folder}"], credentials="user:pass"
    ) as server:
        camera = run(server.url("cam"), server.url("out"))
        stats = until(camera, shown(25))
        camera.stop()
        assert "pass" not in repr(stats)
    verdicts = _recorded(folder)
    assert len(verdicts) >= 22
    assert not any(verdict.face or verdict.placeholder for verdict in verdicts)
    assert stats.faces >= 22
    assert 0 < stats.delay.p50_s < 1


def test_the_viewers_judge_is_not_blind(clip: Path, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    with rtsp_server([f"play:cam:{clip}", f"record:out:{folder}"]) as server:
        camera = run(server.url("cam"), server.url("out"), detector=Sightless())
        until(camera, shown(10))
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
    url = f"rtsp://127.0.0.1:{free_port('127.0.0.1')}/blurred"
    probe = subprocess.Popen(
        [ffprobe, "-v", "quiet", "-rtsp_flags", "listen", "-show_streams", "-of", "json", url],
        stdout=subprocess.PIPE,
    )
    try:
        camera = run(PATTERN, url)
        (stream,) = json.loads(probe.communicate(timeout=40)[0])["streams"]
    finally:
        probe.kill()
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", *SIZE)
    with viewer(url, tmp_path / "seen", size=SIZE) as watching:
        assert watching.wait_for(5, timeout_s=40)
        judge = Judge(SIZE[1], detect=False)
        assert not any(judge(seen.image).face for seen in watching.seen())
    assert camera.stats().sinks[0].restarts >= 1


def test_a_camera_that_restarts_is_found_again(clip: Path, tmp_path: Path, run: Run) -> None:
    port = free_port("127.0.0.1")
    url = f"rtsp://127.0.0.1:{free_port('127.0.0.1')}/blurred"
    with viewer(url, tmp_path / "seen", size=SIZE) as watching:
        with rtsp_server([f"play:cam:{clip}"], port=port) as server:
            camera = run(server.url("cam"), url)
            until(camera, shown(10))
        until(camera, lambda stats: stats.state == "offline" and stats.frames_placeholder >= 5)
        with rtsp_server([f"play:cam:{clip}"], port=port):
            before = camera.stats().frames_checked
            stats = until(camera, lambda stats: stats.frames_checked >= before + 5)
            assert watching.wait_for(stats.sinks[0].frames - 10, timeout_s=40)
        judge = Judge(SIZE[1])
        kinds = [judge(seen.image) for seen in watching.seen()]
    assert stats.reconnects >= 1
    assert not any(verdict.face for verdict in kinds)
    story = "".join("-" if verdict.placeholder else "x" for verdict in kinds)
    assert re.search("x.*-{5,}.*x", story), story


def test_a_frozen_stream_is_opened_anew(clip: Path, run: Run) -> None:
    with rtsp_server([f"play:cam:{clip}"]) as server:
        source = SourceOptions(kind="rtsp", url=server.url("cam"), stall_timeout_s=1.0)
        camera = run(options=source)
        until(camera, shown(5))
        server.tell("freeze cam")
        until(camera, lambda stats: stats.state == "offline" and stats.frames_placeholder > 2)
        server.tell("resume cam")
        before = camera.stats().frames_checked
        stats = until(camera, lambda stats: stats.frames_checked >= before + 5)
    assert stats.state == "running"
    assert stats.reconnects >= 1


def test_a_change_of_size_or_codec_reaches_the_viewer_fitted(
    clip: Path, tmp_path: Path, run: Run
) -> None:
    larger = encode_clip(tmp_path / "larger.h264", size=(480, 272), frames=40)
    other = encode_clip(tmp_path / "other.h265", size=SIZE, frames=40)
    url = f"rtsp://127.0.0.1:{free_port('127.0.0.1')}/blurred"
    with (
        rtsp_server([f"play:cam:{clip}"]) as server,
        viewer(url, tmp_path / "seen", size=SIZE) as watching,
    ):
        camera = run(server.url("cam"), url)
        until(camera, shown(10))
        server.tell(f"switch cam {larger}")
        stats = until(camera, lambda stats: stats.width == 480)
        _shows_more(camera, watching, stats.frames_checked + 2 * FPS)
        fitted = list(watching.seen(watching.count - 1))[-1].image
        reconnects = camera.stats().reconnects
        server.tell(f"switch cam {other}")
        stats = until(
            camera, lambda stats: stats.reconnects > reconnects and stats.state == "running"
        )
        _shows_more(camera, watching, stats.frames_checked + FPS)
        judge = Judge(SIZE[1], detect=False)
        verdicts = [judge(seen.image) for seen in watching.seen()]
        stats = camera.stats()
    assert stats.sinks[0].restarts == 0, "its viewers stay connected"
    assert not any(verdict.face for verdict in verdicts)
    assert fitted[:15].max() < 30 < fitted[60:180].mean(), "black above and below"
    assert not any(verdict.placeholder for verdict in verdicts[-3:])


def _shows_more(camera: Camera, watching: Viewer, checked: int) -> None:
    """Wait until so many frames were checked, and somebody has received some after them."""
    until(camera, lambda stats: stats.frames_checked >= checked)
    assert watching.wait_for(watching.count + 5, timeout_s=40)
