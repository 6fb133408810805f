"""What `faceblur blur` cannot do is said in a sentence, and nothing is left of it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from blur_runs import Run, faceblur, wait_for_partial
from click.testing import CliRunner
from media import moving_face_video

from faceblur.cli import main
from faceblur.detection import models
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import FaceblurError
from rig.slow_link import SlowLink

FAR = ("--transport", "raw", "--encoder", "ffv1")
"""Over a narrow link, and written from the first frame on."""


def test_a_killed_server_leaves_no_file(official: str, tmp_path: Path) -> None:
    source = tmp_path / "clip.mkv"
    moving_face_video(source, frames=150)
    onnx, model = models.find(official)
    with TritonServer(ServerOptions(onnx=onnx, model=model)) as server:
        link = SlowLink(server.address, mbit_per_s=120)
        job = faceblur("blur", source, "--server", link.address, *FAR)
        partial = wait_for_partial(tmp_path)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        _, errors = job.communicate(timeout=60)
        link.cut()
    assert job.returncode == 6
    assert len(errors.strip().splitlines()) == 1
    assert "Traceback" not in errors
    assert not partial.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mkv"]


@pytest.mark.parametrize(
    ("number", "options"),
    [
        (signal.SIGINT, ("--moving",)),
        (signal.SIGTERM, ()),
        (signal.SIGHUP, ()),
    ],
)
def test_an_interrupted_job_leaves_nothing(
    far_server: str, tmp_path: Path, number: signal.Signals, options: tuple[str, ...]
) -> None:
    source = tmp_path / "clip.mkv"
    moving_face_video(source, frames=150)
    job = faceblur("blur", source, "--server", far_server, *FAR, *options)
    wait_for_partial(tmp_path)
    job.send_signal(number)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert ("faceblur: interrupted\n" in errors) == (number == signal.SIGINT)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mkv"]


_NAMES = (
    b"caf\xe9.jpg",
    "日本.jpg".encode(),
    b"a\x1b[31m\nb.jpg",
    b"x" * 240 + b".jpg",
    b"d\xff.tif",
)


@pytest.mark.parametrize(
    "encoding",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
    ],
)
def test_no_name_and_no_terminal_end_a_batch(
    address: str, photo: Path, tmp_path: Path, encoding: dict[str, str]
) -> None:
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)  # noqa: PTH102
    image = cv2.resize(cv2.imread(str(photo)), (200, 200))
    deep = image.astype(np.uint16) * 257
    for name in _NAMES:
        content = cv2.imencode(name[-4:].decode(), deep if name[-3:] == b"tif" else image)[1]
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(content.tobytes())
    Path(os.fsdecode(folder + b"/bad\x1b\n\xff.jpg")).write_bytes(b"no picture")
    line = ["blur", "in", "-o", "out", "--audit", "audit", "--json", "found.json"]
    job = faceblur(*line, "--server", address, env={**os.environ, **encoding}, cwd=tmp_path)
    output, errors = job.communicate(timeout=60)
    assert job.returncode == 1
    assert errors.splitlines() == [
        "cannot read in/bad\\x1b\\n\\udcff.jpg: its content is not an image of a known format"
    ]
    written = {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()}
    assert written == {b".faceblur", *_NAMES}
    _, *rows, _, _ = output.splitlines()
    assert len(rows) == len(_NAMES) + 1
    assert max(map(len, rows)) < 150
    assert output.replace("\n", "").isprintable()
    assert len(json.loads((tmp_path / "found.json").read_text())["media"]) == len(_NAMES)


def _empty(path: Path, portrait: bytes) -> None:
    path.write_bytes(b"")


def _text(path: Path, portrait: bytes) -> None:
    path.write_text("this is no picture\n")


def _truncated(path: Path, portrait: bytes) -> None:
    path.write_bytes(portrait[: len(portrait) // 2])


def _corrupt(path: Path, portrait: bytes) -> None:
    path.write_bytes(portrait[:200] + bytes(range(256)) * 40 + portrait[-200:])


@pytest.mark.parametrize("spoil", [_empty, _text, _truncated, _corrupt])
@pytest.mark.parametrize("name", ["bad.jpg", "bad.png", "bad.mp4", "bad.mkv"])
def test_a_bad_file_is_one_sentence_and_nothing_written(
    run: Run, photo: Path, tmp_path: Path, spoil: Callable[[Path, bytes], None], name: str
) -> None:
    bad = tmp_path / name
    spoil(bad, photo.read_bytes())
    if name.endswith("png") and spoil is _truncated:
        whole = cv2.imencode(".png", cv2.imread(str(photo)))[1].tobytes()
        bad.write_bytes(whole[: len(whole) // 2])
    content = bad.read_bytes()
    result = run(bad)
    if name.endswith((".mp4", ".mkv")) and spoil in (_truncated, _corrupt):
        assert result.exit_code != 0
    else:
        assert result.exit_code == 3
    assert len(result.stderr.strip().splitlines()) == 1
    assert name in result.stderr
    assert bad.read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "photo.jpg"])


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["missing.jpg"], 3, "does not exist"),
        (["empty"], 3, "holds no images"),
        (["photo.jpg", "-o", "nowhere/x/../../photo.jpg"], 3, "would replace"),
        (["photo.jpg", "-o", "photo.xyz"], 3, "xyz"),
        (["photo.jpg", "--mask", "image"], 3, "needs an image"),
        (["photo.jpg", "--colour", "red"], 3, "hexadecimal"),
        (["photo.jpg", "--tls-cert", "photo.jpg"], 3, "go together"),
        (["photo.jpg", "--tls-ca", "missing.pem"], 3, "missing.pem"),
        (["photo.jpg", "--in-process"], 3, "leave out --server"),
        (["photo.jpg", "--audio", "mute", "0:10"], 3, "'0:10' is no time span"),
        (["photo.jpg", "--audio", "mute"], 3, "mute 0:10-0:14"),
        (["photo.jpg", "--audio=beep", "0:14-0:10"], 3, "ends before it starts"),
        (["photo.jpg", "--audio", "loud"], 3, "keep, drop, mute or beep"),
        (["photo.jpg", "--audio", "drop", "--audio", "mute 1-2"], 3, "sound is dropped"),
        (["photo.jpg", "--audio", "mute", "1-2"], 3, "a still image has no times"),
        (["photo.jpg", "--threshold", "2"], 2, "threshold"),
        (["photo.jpg", "--moving"], 3, "leave out --moving"),
        (["photo.jpg", "--moving-hold", "9"], 3, "give --moving too"),
        (["photo.jpg", "--json", "nowhere/found.json"], 4, "nowhere"),
    ],
)
def test_what_cannot_work_is_said(
    run: Run,
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    reason: str,
) -> None:
    monkeypatch.chdir(photo.parent)
    Path("empty").mkdir()
    result = run(*arguments)
    assert result.exit_code == code
    assert reason in result.stderr


def test_an_output_that_cannot_be_written_is_said(run: Run, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    result = run(photo, "-o", tmp_path / "file" / "out.jpg")
    assert result.exit_code == 4
    assert len(result.stderr.strip().splitlines()) == 1


def test_one_bad_file_does_not_stop_the_rest(run: Run, photo: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    result = run(bad, photo)
    assert result.exit_code == 1
    assert "bad.jpg" in result.stderr
    assert (tmp_path / "photo_blurred.jpg").exists()
    assert "1 file failed" in result.stdout


def test_what_was_not_checked_is_named_and_changes_the_exit_code(
    run: Run, photo: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(photo, folder / "a.jpg")
    (folder / "a.xmp").write_text("<x:xmpmeta/>")
    result = run(folder)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].endswith("; 1 other file left alone")
    (folder / "new.jxl").write_bytes(b"\xff\x0a" + bytes(99))
    (folder / "raw.dng").write_bytes(b"II*\0" + bytes(99))
    for options in ((), ("--quiet",)):
        result = run(folder, *options)
        assert result.exit_code == 1
        named = ", ".join(str(folder / name) for name in ("new.jxl", "raw.dng"))
        assert result.stderr == f"faceblur: 2 files were not checked: {named}\n"


def test_files_that_fail_for_one_reason_share_a_line(
    official: str, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job: Any, *_: Any, **__: Any) -> None:
        if job.source.name == "b.jpg":
            raise OSError(errno.EMFILE, "Too many open files")
        raise FaceblurError("it failed")

    monkeypatch.setattr("faceblur.batch.attempts.process_file", fail)
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        shutil.copy(photo, tmp_path / name)
    files = [str(tmp_path / f"{name}.jpg") for name in "abcd"]
    line = ["blur", *files, "--in-process", "--model", official, "--workers", "1"]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 1
    first, second, third = result.stderr.splitlines()
    assert first == f"{files[0]}: it failed"
    assert second.startswith(f"cannot mask {files[1]}: too many files are open")
    assert "ulimit -n" in second
    assert third == f"it failed: so too {files[2]}, {files[3]}"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (MemoryError(), "there is not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
    ],
)
def test_a_machine_that_has_no_more_is_one_sentence(
    photo: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fail(_: object, *, size: int, media: str) -> None:
        raise error

    monkeypatch.setattr("faceblur.cli.blur.open_session", fail)
    result = CliRunner().invoke(main, ["blur", str(photo)])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert said in line
    monkeypatch.setattr("faceblur.cli.blur.open_session", lambda _, *, size, media: int("x"))
    assert isinstance(CliRunner().invoke(main, ["blur", str(photo)]).exception, ValueError)


@pytest.mark.skipif(sys.platform == "win32", reason="limits are those of Unix")
def test_few_open_files_suffice(official: str, photo: Path) -> None:
    program = f"{sys.executable} -m faceblur blur {photo} --model {official}"
    shell = f"ulimit -n 32 -v 3000000; exec {program}"
    job = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=90)
    assert job.returncode == 0, job.stderr
    assert photo.with_name("photo_blurred.jpg").exists()


@pytest.mark.parametrize(("place", "said"), [(".", "it is a folder"), ("no/x", "does not exist")])
def test_where_the_json_cannot_go_is_said_before_any_work(
    run: Run, photo: Path, place: str, said: str
) -> None:
    result = run(photo, "--json", photo.parent / place)
    assert (result.exit_code, said in result.stderr) == (4, True)
    assert not photo.with_name("photo_blurred.jpg").exists()
