"""`faceblur check`: validates, and tries sources, sinks and server without starting anything."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import av
import pytest

from faceblur.live.options import DEFAULT_LOOKAHEAD
from rig.ports import free_port

CAMERAS = "cameras:\n  door:\n    source: testpattern:?size=320x240&fps=5\n    sinks: [{sink}]\n"


def check(file: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "faceblur", "check", *options, str(file)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_mistakes_end_it_with_code_3_and_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text(CAMERAS.format(sink="tape") + "    treshold: 1\n")
    done = check(file, "--no-probe")
    assert done.returncode == 3
    assert done.stdout == ""
    head, *lines = done.stderr.splitlines()
    assert head.endswith("cameras.yaml has 2 mistakes:")
    assert [line.split(": ")[:3] for line in lines] == [
        ["cameras.yaml:4", 'camera "door"', "sinks[0]"],
        ["cameras.yaml:5", 'camera "door"', "treshold"],
    ]


def test_without_probes_nothing_is_touched(tmp_path: Path) -> None:
    file, recordings = tmp_path / "cameras.yaml", tmp_path / "recordings"
    file.write_text(CAMERAS.format(sink=f"segments:{recordings}"))
    done = check(file, "--no-probe")
    head, ahead = done.stdout.splitlines()
    assert (done.returncode, head) == (0, f"{file}: 1 camera, no mistakes")
    assert ahead == f"door: look-ahead of {DEFAULT_LOOKAHEAD} frames, a delay of 1 s at 5 fps"
    assert not recordings.exists()


def test_what_a_camera_masks_that_moves_is_told(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text(CAMERAS.format(sink="'null'") + "    moving: {mode: mask, hold_s: 90}\n")
    done = check(file, "--no-probe")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].startswith("door: what moves is masked; the whole frame is")
    assert "for the first 90 s" in done.stdout


def test_what_is_hardly_meant_is_a_warning_and_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text(
        CAMERAS.format(sink="'null'") + "    threshold: 0.99\n    deadline_s: 0.01\n"
        "    lookahead: 0\n"
    )
    done = check(file, "--no-probe")
    head, *lines, ahead = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert ahead.startswith("door: no look-ahead, so whoever comes into sight shows until")
    assert head == f"{file}: 1 camera, no mistakes, 2 warnings:"
    assert [line.split(": ")[:3] for line in lines] == [
        ["cameras.yaml:5", 'camera "door"', "threshold"],
        ["cameras.yaml:6", 'camera "door"', "deadline_s"],
    ]


def _clip(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame(320, 240, "yuv420p")))
        container.mux(stream.encode(None))
    return path


def test_each_source_sink_and_server_is_tried(bundled_server: str, tmp_path: Path) -> None:
    taken, port = socket.create_server(("127.0.0.1", 0)), free_port()
    (tmp_path / "file").write_text("no folder")
    clip = _clip(tmp_path / "clip.mp4")
    file = tmp_path / "cameras.yaml"
    file.write_text(
        f"server: {{address: '{bundled_server}', deadline_s: 10}}\n"
        "cameras:\n"
        "  clip:\n"
        f"    source: '{clip}'\n"
        "    hardware_decoding: vaapi\n"
        f"    sinks: ['segments:{tmp_path}/new', 'hls:{tmp_path}/file/below']\n"
        "  gone:\n"
        f"    source: 'rtsp://operator:${{PASSWORD}}@127.0.0.1:{port}/live'\n"
        f"    sinks: ['rtsp://u:${{PASSWORD}}@127.0.0.1:{port}/x',"
        f" 'mjpeg:{taken.getsockname()[1]}']\n"
    )
    done = check(file, "--deadline", "100", PASSWORD="s3cret/word")
    assert done.returncode == 3, done.stderr
    head, ahead, *lines = done.stdout.splitlines()
    assert head == f"{file}: 2 cameras, no mistakes"
    assert ahead.startswith("clip, gone: look-ahead of ")
    expected = [
        ("ok ", "server", "a known face was found by the "),
        (
            "ok ",
            "clip",
            "h264, 320x240, 10 fps; cannot decode with vaapi here; decoding on the CPU",
        ),
        ("ok ", "clip", f"{tmp_path} can be written to, "),
        ("BAD", "clip", f"{tmp_path}/file cannot be written to"),
        ("BAD", "gone", "Connection refused"),
        ("BAD", "gone", "Connection refused"),
        ("BAD", "gone", "Address already in use"),
    ]
    _assert_said(lines, expected)
    assert "s3cret" not in done.stdout + done.stderr
    assert not (tmp_path / "new").exists()
    taken.close()


def _assert_said(lines: list[str], expected: list[tuple[str, str, str]]) -> None:
    assert len(lines) == len(expected)
    for line, (mark, name, text) in zip(lines, expected, strict=True):
        assert line.startswith(f"{mark} {name}")
        assert text in line


def test_what_never_answers_is_waited_for_so_long_as_was_said(
    bundled_server: str, tmp_path: Path
) -> None:
    file, port = tmp_path / "cameras.yaml", free_port()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}"
        file.write_text(
            f"server: {{address: '{bundled_server}', deadline_s: 10}}\n"
            "cameras:\n"
            "  silent:\n"
            f"    source: {{url: '{address}/live', open_timeout_s: 600, stall_timeout_s: 600}}\n"
            f"    sinks: ['{address}/x', 'mjpeg:[::1]:{port}', 'hls:/proc/new']\n"
        )
        done = check(file, "--deadline", "1")
    assert done.returncode == 3, done.stderr
    expected = [
        ("ok ", "server", "a known face was found by the "),
        ("BAD", "silent", "no frame came within 1 s"),
        ("BAD", "silent", "it did not answer in time"),
        ("ok ", "silent", f"port {port} is free"),
        ("BAD", "silent", "/proc"),
    ]
    _assert_said(done.stdout.splitlines()[2:], expected)


def test_a_server_that_is_not_there_ends_it_with_code_6(tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "cameras.yaml"
    file.write_text(f"server: {{address: '127.0.0.1:{port}'}}\n" + CAMERAS.format(sink="'null'"))
    done = check(file)
    assert done.returncode == 6, done.stderr
    assert f"BAD server  127.0.0.1:{port}: no server answers at 127.0.0.1:{port}" in done.stdout


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_file_that_is_not_there_is_one_sentence(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faceblur", command, str(tmp_path / "none.yaml")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.endswith("none.yaml: No such file or directory; docs/cameras.yaml is one to start "
                         "from")  # fmt: skip
