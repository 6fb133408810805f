"""`faceblur test` and `faceblur camera`, as a user types them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest
from click.testing import CliRunner, Result
from waiting import until

from faceblur.cli import main
from rig.clips import PORTRAIT
from rig.faulty_servers import SilentServer

PATTERN = f"testpattern:?size=320x240&fps=10&face={PORTRAIT}"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_the_test_command_shows_speed_and_delay(bundled_server: str) -> None:
    result = _run(
        *("test", "--source", PATTERN, "--frames", "15", "--headless", "--size", "320"),
        *("--server", bundled_server, "--deadline", "5"),
    )
    assert result.exit_code == 0, result.output
    assert "masks" in result.output
    assert "delay" in result.output


def test_a_webcam_that_is_not_there_is_said_in_a_sentence(bundled_server: str) -> None:
    result = _run(
        *("test", "--source", "/dev/video97", "--headless", "--quiet"),
        *("--server", bundled_server),
    )
    assert result.exit_code == 3
    assert "/dev/video97: No such file or directory" in result.output


@pytest.mark.parametrize("command", [["camera", "--to", "null"], ["test", "--headless"]])
def test_a_camera_that_fails_is_no_success(
    command: list[str], bundled_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("no more threads")

    monkeypatch.setattr("faceblur.live.camera.Camera._turn", breaks)
    source = [PATTERN] if command[0] == "camera" else ["--source", PATTERN]
    result = _run(*command, *source, "--server", bundled_server)
    assert result.exit_code == 1
    assert "the camera has failed; the log above says why" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["camera", "nothing.mp4", "--to", "null"], "there is no video file nothing.mp4"),
        (["camera", "testpattern", "--to", "disk"], "cannot send frames to disk"),
        (["camera", "testpattern", "--to", "hls:x", "--to", "hls:x"], "has hls:x twice"),
        (["camera", "testpattern"], "Missing option '--to'"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_starts(
    arguments: list[str], says: str
) -> None:
    result = _run(*arguments)
    assert result.exit_code in (2, 3)
    assert says in result.output


def test_a_file_is_masked_into_files_and_ends(
    bundled_server: str, tmp_path: Path, shared: Path
) -> None:
    result = _run(
        *("camera", str(_short(shared, tmp_path)), "--to", f"segments:{tmp_path / 'masked'}"),
        *("--server", bundled_server, "--deadline", "5", "--size", "320"),
    )
    assert result.exit_code == 0, result.output
    assert "frames shown" in result.output
    assert len(list((tmp_path / "masked").glob("*.mp4"))) == 1


def _short(shared: Path, folder: Path) -> Path:
    """Two seconds of a clip."""
    path = folder / "clip.mkv"
    with av.open(str(shared / "media" / "asl_walk.mkv")) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.pts is None or float(packet.pts * packet.time_base) > 2:
                break
            packet.stream = stream
            out.mux(packet)
    return path


def test_sigterm_ends_a_camera_in_order_and_no_password_is_listed(
    bundled_server: str, tmp_path: Path
) -> None:
    silent = SilentServer()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "faceblur", "camera", PATTERN),
            *("--to", f"segments:{tmp_path}?segment=60", "--encoder", "h264_nvenc"),
            *("--to", f"rtsp://user:my'k0rnblume@127.0.0.1:{silent.port}/x"),
            *("--server", bundled_server, "--deadline", "5", "--size", "320"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: process.poll() is not None or _has_written(tmp_path), "a recording begins")
        listed = subprocess.run(
            ["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True
        )
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        silent.close()
    assert process.returncode == 143
    assert "rtsp://***@127.0.0.1" in listed.stdout
    assert "k0rnblume" not in listed.stdout + errors
    assert "h264_nvenc does not work here" in errors
    assert {path.suffix for path in tmp_path.iterdir()} == {".mp4"}, "the recording is finished"


def _has_written(folder: Path) -> bool:
    # What ends a job, or a part of it, takes the name away.
    with contextlib.suppress(FileNotFoundError):
        return any(path.stat().st_size > 2_000 for path in folder.glob("*.part"))
    return False
