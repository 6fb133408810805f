"""Where masked frames go: files, playlists, browsers, other programs."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import av
import media
import numpy as np
import pytest
import waiting
from running import PATIENCE_S, PATTERN, SIZE, Run, finish, readable, shown, until

from faceblur.errors import OutputError
from faceblur.live import SinkOptions, parse_sink
from faceblur.live.frame_format import FrameFormat
from faceblur.live.sinks.stream import StreamWriter
from faceblur.live.sinks.writer import EncodedWriter, Output
from rig.judge import Judge
from rig.ports import free_port
from rig.recorder import recorder


def _times_and_faces(path: Path) -> tuple[list[float], int]:
    """When the frames of a file are shown, and how many of them have a face."""
    judge, times, faces = Judge(SIZE[1], detect=False), [], 0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            times.append(frame.time or 0.0)
            faces += judge(frame.to_ndarray(format="bgr24")).face
    return times, faces


def test_file_segments_are_complete_when_they_appear(run: Run, tmp_path: Path) -> None:
    camera = run(PATTERN, f"segments:{tmp_path}?segment=1")
    waiting.until(lambda: len(list(tmp_path.glob("*.mp4"))) >= 3, "three files")
    whole = {path: path.read_bytes() for path in tmp_path.glob("*.mp4")}
    assert len(list(tmp_path.glob("*.part"))) <= 1
    for path in whole:
        times, faces = _times_and_faces(path)
        # Where the machine is held up, frames are left out.
        assert (times[-1] - times[0] >= 0.99, len(times) <= 14, faces) == (True, True, 0)
    (sink,) = finish(camera).sinks
    assert list(tmp_path.glob("*.part")) == []
    assert {path: path.read_bytes() for path in whole} == whole
    assert readable(*tmp_path.glob("*.mp4")) == sink.frames, "no frame is lost between files"


def test_a_sink_that_starts_slowly_is_not_too_late_for_a_short_file(
    run: Run, tmp_path: Path
) -> None:
    media.moving_face_video(video := tmp_path / "face.mp4", frames=5, width=320, height=240)
    camera = run(str(video), f"segments:{tmp_path / 'masked'}")
    camera._flush_s = PATIENCE_S
    until(camera, lambda _: camera._sinks[0]._child is not None)
    child = camera._sinks[0]._child
    assert child is not None
    with waiting.frozen(child.pid):
        until(camera, lambda _: camera._source is not None and camera._source.ended)
    assert camera.wait(PATIENCE_S)
    (file,) = (tmp_path / "masked").glob("*.mp4")
    assert readable(file) == camera.stats().sinks[0].frames > 0


def test_old_file_segments_are_deleted(run: Run, tmp_path: Path) -> None:
    old = [tmp_path / f"20200101T00000{n}.000Z.mp4{end}" for n, end in enumerate(("", ".part"))]
    mine = [tmp_path / "notes.txt", tmp_path / "holiday.mp4"]
    for path in (*old, *mine):
        path.write_bytes(b"x" * 60_000)
    sink = SinkOptions(kind="segments", target=str(tmp_path), segment_s=0.5, keep_bytes=60_000)
    camera = run(PATTERN, sinks=(sink,))
    until(camera, shown(25))
    finish(camera)
    files = list(tmp_path.glob("*.mp4"))
    assert not any(path.exists() for path in old), "one was left by a process that was killed"
    assert all(path.exists() for path in mine)
    ours = [path for path in files if path not in mine]
    assert len(ours) >= 1
    assert sum(path.stat().st_size for path in ours) <= 60_000


@pytest.mark.parametrize("room", [0, 600, 100_000])
def test_a_full_disk_leaves_no_file_that_cannot_be_played(tmp_path: Path, room: int) -> None:
    """In a process that may write no more than so many bytes to a file."""
    left = tmp_path / "20200101T000000.000Z.mp4.part"
    left.touch()
    os.utime(left, (0, 0))
    script = f"""
import resource, signal, sys
import numpy as np
from faceblur.errors import OutputError
from faceblur.live import parse_sink
from faceblur.live.frame_format import FrameFormat
from faceblur.live.sinks.segments import SegmentWriter
from faceblur.live.sinks.writer import Output
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
format_ = FrameFormat(width=320, height=240)
random, failures = np.random.default_rng(0), 0
for start in range(3):
    writer = SegmentWriter(parse_sink("segments:{tmp_path}?segment=60"))
    try:
        for i in range(100):
            samples = random.integers(0, 12, format_.size_bytes, np.uint8)
            writer.write(Output(format_, samples, start * 100 + i / 10, 0.0))
    except OutputError:
        failures += 1
sys.exit(failures)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=120)
    assert done.returncode == 3
    assert not left.exists() or room < 1000, "one that was left by another process"
    files = list(tmp_path.glob("*.part"))
    assert [path for path in files if path != left and not path.stat().st_size] == []
    assert (len(files) > 0) == (room > 1000 or left.exists())
    for path in files:
        if path != left:
            with av.open(str(path)) as container:
                assert next(container.decode(video=0)).width == 320, "it can be played"


def test_a_playlist_on_a_full_disk_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = StreamWriter(parse_sink(f"hls:{tmp_path / 'new'}"))
    format_ = FrameFormat(width=64, height=48)
    image = np.full(format_.size_bytes, 128, np.uint8)
    writer.write(Output(format_, image, 0.0, 0.0))
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    writer._room_s = 0.0
    with pytest.raises(OutputError, match="No space left on device"):
        writer.write(Output(format_, image, 1.0, 1.0))
    writer.close()


class MemoryWriter(EncodedWriter):
    """Opens a transport stream in memory for each target."""

    def __init__(self) -> None:
        super().__init__(parse_sink("srt://127.0.0.1:9"))
        self.files: list[io.BytesIO] = []

    def open_target(self) -> av.container.OutputContainer:
        self.files.append(io.BytesIO())
        return av.open(self.files[-1], "w", format="mpegts")


def test_a_stream_takes_its_size_from_the_camera_and_not_from_a_placeholder() -> None:
    small, large = FrameFormat(width=64, height=48), FrameFormat(width=128, height=96)
    writer = MemoryWriter()
    for time_s, format_, arrived_s in (
        (0.0, small, None),
        (0.1, large, 0.1),
        (0.2, small, None),
        (0.3, small, 0.3),
        (0.4, large, 0.4),
    ):
        writer.write(Output(format_, np.zeros(format_.size_bytes, np.uint8), time_s, arrived_s))
    writer.close()
    sizes = []
    for file in writer.files:
        with av.open(io.BytesIO(file.getvalue())) as container:
            sizes.append([(frame.width, frame.height) for frame in container.decode(video=0)])
    assert sizes == [[(64, 48)], [(128, 96)] * 4]


def test_mjpeg_shows_in_any_browser_and_only_on_this_machine(run: Run) -> None:
    port = free_port()
    camera = run(PATTERN, f"mjpeg:{port}")
    until(camera, shown(3))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE_S) as reply:
        assert reply.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        data = reply.read(60_000)
    assert data.count(b"Content-Type: image/jpeg") >= 2
    listening = subprocess.run(["ss", "-ltn"], capture_output=True, text=True, check=True).stdout
    assert f"127.0.0.1:{port}" in listening


def test_a_window_needs_a_screen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    camera = run(PATTERN, "window", "null")
    stats = until(camera, lambda stats: stats.sinks[0].state == "waiting")
    assert "no screen here" in stats.sinks[0].last_error


def test_srt_needs_the_ffmpeg_program(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    camera = run(PATTERN, "srt://127.0.0.1:9?passphrase=0123456789")
    stats = until(camera, lambda stats: stats.sinks[0].state == "waiting")
    assert "needs the ffmpeg program" in stats.sinks[0].last_error
    assert "0123456789" not in stats.sinks[0].last_error


def test_srt_and_rtmp_reach_a_receiver(run: Run, tmp_path: Path) -> None:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("needs ffmpeg: apt-get install -y ffmpeg")
    port, by_srt, by_rtmp = free_port(), tmp_path / "srt.ts", tmp_path / "rtmp.mkv"
    url = f"rtmp://127.0.0.1:{free_port()}/live/door"
    receiver = subprocess.Popen(
        [
            *(ffmpeg, "-loglevel", "quiet", "-analyzeduration", "500000"),
            *("-i", f"srt://127.0.0.1:{port}?mode=listener"),
            *("-c", "copy", "-flush_packets", "1", str(by_srt)),
        ],
        stdin=subprocess.DEVNULL,
    )
    try:
        with recorder(url, by_rtmp) as other:
            camera = run(PATTERN, f"srt://127.0.0.1:{port}", url)
            until(camera, lambda stats: min(sink.frames for sink in stats.sinks) >= 30)
            # What went into a program has not gone out of it.
            until(camera, lambda _: by_srt.exists() and readable(by_srt) > 5)
            finish(camera)
            receiver.wait(PATIENCE_S)
            assert other.wait(PATIENCE_S) == 0
    finally:
        receiver.kill()
        receiver.wait()
    for received in (by_srt, by_rtmp):
        times, faces = _times_and_faces(received)
        assert len(times) > 5
        assert faces == 0


def test_an_encoder_that_is_not_there_is_replaced_and_said_once(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = SinkOptions(
        kind="segments", target=str(tmp_path), encoder="h264_nvenc", segment_s=0.3
    )
    camera = run(PATTERN, sinks=(options,))
    until(camera, shown(9))
    finish(camera)
    assert caplog.text.count("h264_nvenc does not work here; using libx264") == 1
    files = sorted(tmp_path.glob("*.mp4"))
    assert len(files) > 1
    assert _times_and_faces(files[-1])[1] == 0
