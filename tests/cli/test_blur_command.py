"""`faceblur blur` as its users run it, on real files, through a real server."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from media import Recording, moving_face_video, pattern, record

from faceblur.cli import main
from faceblur.detection import models
from faceblur.detection.models import Media, automatic_model
from faceblur.detection.options import DetectionOptions
from faceblur.detection.session import DetectionSession
from faceblur.detection.triton.channel import open_client
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.ports import free_port
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import FaceblurError, InputError
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.schema.conversion import to_json

Run = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[2]
BLACK = 8
"""Video encoders do not keep black at exactly 0."""


@pytest.fixture
def address(session: DetectionSession) -> str:
    assert session.server is not None
    return session.server.address


@pytest.fixture
def run(address: str) -> Run:
    """Run `faceblur blur ARGUMENTS…` in this process against the shared server."""

    def invoke(*arguments: str | Path) -> Result:
        line = ["blur", *map(str, arguments), "--server", address]
        return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)

    return invoke


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "docs" / "images" / "before.jpg", tmp_path / "photo.jpg"))


@pytest.fixture
def clip(tmp_path: Path) -> tuple[Path, list[npt.NDArray[np.float32]]]:
    """A video of a moving face, and where it is in each frame."""
    path = tmp_path / "clip.mp4"
    return path, moving_face_video(path, frames=40, width=640, height=360)


def test_a_photo_is_blurred_beside_the_original(run: Run, photo: Path) -> None:
    before = photo.read_bytes()
    result = run(photo, "--threshold", "0.2")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(r".*photo_blurred\.jpg: 1 face masked in 1 frame, .*\n", result.stdout)
    assert photo.read_bytes() == before
    old, new = cv2.imread(str(photo)), cv2.imread(str(photo.with_name("photo_blurred.jpg")))
    assert old.shape == new.shape
    face = (slice(75, 180), slice(185, 265))
    assert _detail(new[face]) < _detail(old[face]) / 5
    elsewhere = (slice(400, 500), slice(20, 120))
    assert cv2.norm(old[elsewhere], new[elsewhere], cv2.NORM_INF) < 30


def test_everything_found_is_in_the_json(run: Run, photo: Path, tmp_path: Path) -> None:
    findings_file = tmp_path / "found.json"
    assert run(photo, "--json", findings_file, "--threshold", "0.4").exit_code == 0
    findings = json.loads(findings_file.read_text())
    assert set(findings) == {"version", "model", "policy", "media"}
    assert findings["version"] == 2
    assert findings["policy"] == to_json(Policy(detection=DetectionOptions(threshold=0.4)))
    assert set(findings["model"]) == {"name", "sha256", "threshold", "size"}
    assert findings["model"]["threshold"] == 0.4
    (media,) = findings["media"]
    assert (media["path"], media["width"], media["height"]) == (str(photo), 512, 512)
    assert media["sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()
    (frame,) = media["frames"]
    (face,) = frame["faces"]
    assert (frame["index"], frame["pts_s"]) == (0, 0)
    x1, y1, x2, y2 = face["box"]
    assert 170 < x1 < 200 < 250 < x2 < 285
    assert 45 < y1 < 90 < 160 < y2 < 200
    assert len(face["landmarks"]) == 5
    assert all(x1 < x < x2 and y1 < y < y2 for x, y in face["landmarks"])
    assert 0.4 < face["score"] <= 1


def test_pixels_away_from_faces_are_unchanged(run: Run, photo: Path, tmp_path: Path) -> None:
    lossless = tmp_path / "photo.png"
    image = cv2.imread(str(photo))
    cv2.imwrite(str(lossless), image)
    findings_file = tmp_path / "found.json"
    assert run(lossless, "--json", findings_file, "--threshold", "0.2").exit_code == 0
    changed = (cv2.imread(str(tmp_path / "photo_blurred.png")) != image).any(axis=2)
    (face,) = json.loads(findings_file.read_text())["media"][0]["frames"][0]["faces"]
    x1, y1, x2, y2 = face["box"]
    expand = MaskStyle().expand
    margin_x, margin_y = expand * (x2 - x1) + 1, expand * (y2 - y1) + 1
    rows, columns = np.nonzero(changed)
    assert columns.min() >= x1 - margin_x
    assert columns.max() <= x2 + margin_x
    assert rows.min() >= y1 - margin_y
    assert rows.max() <= y2 + margin_y
    assert changed.sum() > 0.7 * (x2 - x1) * (y2 - y1)


@pytest.mark.parametrize("mask", ["veil", "blur", "pixelate", "solid", "image"])
@pytest.mark.parametrize("shape", ["ellipse", "box"])
def test_every_mask_hides_the_face(
    run: Run, photo: Path, tmp_path: Path, mask: str, shape: str
) -> None:
    overlay = tmp_path / "overlay.png"
    cv2.imwrite(str(overlay), np.full((8, 8, 3), 200, np.uint8))
    result = run(
        photo, "-o", tmp_path / "out.png", "--mask", mask, "--shape", shape,
        "--mask-image", overlay,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    face = (slice(75, 180), slice(190, 260))
    old, new = cv2.imread(str(photo))[face], cv2.imread(str(tmp_path / "out.png"))[face]
    assert abs(np.corrcoef(_texture(old), _texture(new))[0, 1]) < 0.3
    # What is not hidden enough would show.
    weak = cv2.GaussianBlur(old, (0, 0), 2)
    assert np.corrcoef(_texture(old), _texture(weak))[0, 1] > 0.6


def test_labelled_faces_are_masked_in_the_pixels(run: Run, shared: Path, tmp_path: Path) -> None:
    """93 % of the labelled faces of 24 px or more, judged by the colour of the output."""
    from faceblur_export.data.formats import read_folder

    folder = shared / "data" / "eval" / "masks"
    out = tmp_path / "out"
    sources = tmp_path / "in"
    sources.mkdir()
    images = read_folder(folder)
    for image in images:
        lossless = cv2.imread(str(image.path))
        cv2.imwrite(str(sources / f"{image.path.stem}.png"), lossless)
    result = run(sources, "-o", out, "--mask", "solid", "--colour", "00ff00")
    assert result.exit_code == 0, result.output
    masked = total = 0
    for image in images:
        pixels = cv2.imread(str(out / f"{image.path.stem}.png"))
        green = (pixels == (0, 255, 0)).all(axis=2)
        for x1, y1, x2, y2 in image.boxes:
            if y2 - y1 < 24:
                continue
            total += 1
            ellipse = _inscribed_ellipse(green.shape, (x1, y1, x2, y2))
            masked += green[ellipse].mean() >= 0.9
    assert total > 100
    assert masked / total >= 0.93


def test_a_video_is_blurred_in_every_frame(
    run: Run, clip: tuple[Path, list[npt.NDArray[np.float32]]], tmp_path: Path
) -> None:
    source, truth = clip
    out = tmp_path / "out.mp4"
    result = run(source, "-o", out, "--mask", "solid")
    assert result.exit_code == 0, result.output
    with av.open(str(source)) as old, av.open(str(out)) as new:
        before = [frame for frame in old.decode(video=0)]
        after = [frame for frame in new.decode(video=0)]
        assert [f.pts * f.time_base for f in before] == [f.pts * f.time_base for f in after]
        for frame, box in zip(after, truth, strict=True):
            image = frame.to_ndarray(format="bgr24")
            ellipse = _inscribed_ellipse(image.shape[:2], tuple(box))
            assert (image[ellipse].max(axis=1) <= BLACK).mean() > 0.9


def test_subtitles_that_are_left_out_are_in_the_summary(run: Run, tmp_path: Path) -> None:
    source, output = tmp_path / "drone.mp4", tmp_path / "out.mp4"
    texts = [(0.0, 0.1, "52.520008N 13.404954E 88 km/h")]
    record(source, pattern(5), Recording(subtitles=texts))
    result = run(source, "-o", output)
    assert result.exit_code == 0, result.output
    assert "; subtitles #1 left out, they do not look like speech" in result.stdout
    assert "--keep-subtitles keeps them" in result.stderr
    assert b"13.40" not in output.read_bytes()
    result = run(source, "-o", output, "--keep-subtitles")
    assert "left out" not in result.output
    assert b"13.40" in output.read_bytes()


def test_parts_of_the_sound_are_muted(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    record(folder / "talk.mov", pattern(25), Recording(sounds=["eng"], sound_encoder="pcm_s16le"))
    spans = ["--audio", "mute", "0:00.2-0:00.4", "--audio=beep", "0.5-0.6,0.9-,1:00-1:10"]
    result = run(*spans, folder / "talk.mov", "-o", tmp_path / "out.mov")
    assert result.exit_code == 0, result.output
    for what in ("0:00.2-0:00.4 muted", "0:00.5-0:00.6 beeped over", "0:00.9- beeped over"):
        assert f"; sound of {what}" in result.stdout
    assert "1:00" not in result.stdout
    assert "no sound at 1:00-1:10" in result.stderr
    with av.open(str(tmp_path / "out.mov")) as played:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in played.decode(audio=0)])
    silent = sound.reshape(-1, 480).any(axis=1)
    assert [index for index, loud in enumerate(silent) if not loud] == [*range(20, 40)]
    for expected in ("beeped", "skipped"):
        result = run(folder, *spans)
        assert result.exit_code == 0, result.output
        assert expected in result.stdout


def test_a_killed_server_leaves_no_file(official: str, tmp_path: Path) -> None:
    source = tmp_path / "clip.mp4"
    moving_face_video(source, frames=400, width=1280, height=720)
    onnx, model = models.find(official)
    with TritonServer(ServerOptions(onnx=onnx, model=model)) as server:
        job = _faceblur("blur", source, "--server", server.address)
        partial = _wait_for_partial(tmp_path)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        _, errors = job.communicate(timeout=60)
    assert job.returncode == 6
    assert len(errors.strip().splitlines()) == 1
    assert "Traceback" not in errors
    assert not partial.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4"]


@pytest.mark.parametrize(
    ("number", "options"),
    [
        (signal.SIGINT, ("--moving",)),
        (signal.SIGTERM, ()),
        (signal.SIGHUP, ()),
    ],
)
def test_an_interrupted_job_leaves_nothing(
    address: str, tmp_path: Path, number: signal.Signals, options: tuple[str, ...]
) -> None:
    source = tmp_path / "clip.mp4"
    moving_face_video(source, frames=400, width=1280, height=720)
    job = _faceblur("blur", source, "--server", address, *options)
    _wait_for_partial(tmp_path)
    job.send_signal(number)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert ("faceblur: interrupted\n" in errors) == (number == signal.SIGINT)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4"]


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
    job = _faceblur(*line, "--server", address, env={**os.environ, **encoding}, cwd=tmp_path)
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


def test_a_folder_for_one_result_is_made(run: Run, photo: Path, tmp_path: Path) -> None:
    result = run(photo, "-o", f"{tmp_path}/new/folder/")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "new" / "folder" / "photo.jpg").exists()


def test_a_name_with_a_dash_is_not_taken_for_options(
    run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photo.parent)
    photo.rename("-dash.jpg")
    result = run("-dash.jpg")
    assert result.exit_code == 2
    assert "-dash.jpg begins with a dash" in result.stderr
    assert "put -- before it" in result.stderr
    # The shared server's address comes before the names, then.
    assert run("-v", "./-dash.jpg").exit_code == 0
    assert "No such option" in run("--nonsense").stderr


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


@pytest.mark.parametrize(
    ("names", "model"),
    [(("a.jpg",), "bundled"), (("a.mp4", "b.mkv"), "fast"), (("a.mp4", "b.jpg"), "bundled")],
)
def test_videos_alone_are_searched_by_the_fast_model(
    photo: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], model: str
) -> None:
    files = [photo.with_name(name) for name in names]
    for file in files:
        if file.suffix == ".jpg":
            file.write_bytes(photo.read_bytes())
        else:
            moving_face_video(file, frames=1, width=64, height=48)
    opened = []

    def open_none(_: object, *, size: int, media: Media) -> None:
        opened.append(automatic_model(media))
        raise InputError("no further")

    monkeypatch.setattr("faceblur.cli.blur.open_session", open_none)
    assert CliRunner().invoke(main, ["blur", *map(str, files)]).exit_code == InputError.exit_code
    assert opened == [model]


@pytest.mark.parametrize("signalled", [KeyboardInterrupt(), SystemExit(143)])
def test_what_fails_on_the_way_out_is_no_error_of_its_own(
    photo: Path, monkeypatch: pytest.MonkeyPatch, signalled: BaseException
) -> None:
    def fail(_: object, *, size: int, media: str) -> None:
        try:
            raise signalled
        finally:
            raise ValueError("generator already executing")

    monkeypatch.setattr("faceblur.cli.blur.open_session", fail)
    result = CliRunner().invoke(main, ["blur", str(photo)], prog_name="faceblur")
    interrupted = isinstance(signalled, KeyboardInterrupt)
    assert result.exit_code == (130 if interrupted else 143)
    assert result.stderr == ("faceblur: interrupted\n" if interrupted else "")


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


def test_quiet_says_nothing(run: Run, photo: Path) -> None:
    result = run(photo, "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_no_server_at_the_address_is_said(photo: Path) -> None:
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    line = ["blur", str(photo), "--server", address, "--deadline", "3"]
    result = CliRunner().invoke(main, line, prog_name="faceblur")
    assert result.exit_code == 6
    assert "faceblur serve" in result.stderr
    assert not photo.with_name("photo_blurred.jpg").exists()


def test_a_server_is_started_when_there_is_none(official: str, photo: Path) -> None:
    job = _faceblur("blur", photo, "--model", official)
    output, errors = job.communicate(timeout=90)
    assert job.returncode == 0, errors
    assert "embedded Triton server" in output
    assert photo.with_name("photo_blurred.jpg").exists()


@pytest.fixture
def served(official: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port("127.0.0.1")
    process = _faceblur("serve", "--port", str(port), "--model", official)
    assert process.stdout is not None
    assert "serving" in process.stdout.readline()
    yield process, f"127.0.0.1:{port}"
    process.kill()
    process.wait()


def test_serve_stays_up_and_stops_in_order(
    served: tuple[subprocess.Popen[str], str], photo: Path
) -> None:
    process, address = served
    line = ["blur", str(photo), "--server", address]
    assert CliRunner().invoke(main, line).exit_code == 0
    doctor = CliRunner().invoke(main, ["doctor", "--server", address])
    assert doctor.exit_code == 0, doctor.output
    assert address in doctor.output
    _assert_killed_clients_are_forgotten(address)
    dumped = Path("/proc", str(process.pid), "coredump_filter").read_text()
    assert int(dumped, 16) == 0, "a crash would write images to the disk"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143


def _assert_killed_clients_are_forgotten(address: str) -> None:
    lines = "from faceblur.detection.triton.connection import Connection"
    lines += "; from faceblur.detection.triton.client import TritonDetector"
    lines += f"; TritonDetector(Connection(address={address!r}, transport='shm'))"
    client = subprocess.Popen(
        [sys.executable, "-c", f"{lines}; print('open', flush=True); import time; time.sleep(60)"],
        stdout=subprocess.PIPE,
    )
    assert client.stdout is not None
    assert client.stdout.readline() == b"open\n"
    with open_client(Connection(address=address)) as asking:
        assert asking.get_system_shared_memory_status(client_timeout=5).regions
        client.kill()
        client.wait()
        end = time.monotonic() + 15
        while asking.get_system_shared_memory_status(client_timeout=5).regions:
            assert time.monotonic() < end, "the server keeps the images of a client that is gone"
            time.sleep(0.1)


def test_without_a_server_the_same_model_runs_in_process(
    official: str, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faceblur.detection.triton.runtime import TritonRuntime
    from faceblur.errors import ServerStartError

    def nowhere() -> TritonRuntime:
        raise ServerStartError("the embedded Triton server needs Linux, not win32")

    monkeypatch.setattr(TritonRuntime, "find", nowhere)
    result = CliRunner().invoke(main, ["blur", str(photo), "--model", official])
    assert result.exit_code == 0, result.output
    assert "in this process" in result.stderr
    assert "this process" in result.stdout


def test_no_server_is_started_when_none_is_wanted(
    official: str, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faceblur.detection.triton.server import TritonServer

    monkeypatch.setattr(TritonServer, "start", pytest.fail)
    line = ["blur", str(photo), "--in-process", "--model", official]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 0, result.output
    assert "this process" in result.stdout
    assert result.stderr == ""


def _faceblur(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "faceblur", *map(str, arguments)]
    # Jobs in the background of a shell ignore Ctrl-C, and so would what they start.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", **options
        )
    finally:
        signal.signal(signal.SIGINT, inherited)


def _wait_for_partial(folder: Path) -> Path:
    """Wait until the result is being written under its temporary name."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.glob(".*partial*"):
            if path.stat().st_size > 0:
                return path
        time.sleep(0.02)
    raise AssertionError("nothing was being written")


def _inscribed_ellipse(
    shape: tuple[int, int], box: tuple[float, float, float, float]
) -> npt.NDArray[np.bool_]:
    x1, y1, x2, y2 = box
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    x = (columns + 0.5 - (x1 + x2) / 2) / ((x2 - x1) / 2)
    y = (rows + 0.5 - (y1 + y2) / 2) / ((y2 - y1) / 2)
    return np.asarray(x**2 + y**2 <= 1)


def _detail(image: npt.NDArray[np.uint8]) -> float:
    return float(cv2.Laplacian(image, cv2.CV_64F).var())


def _texture(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """What is left of an image when the coarse shades are taken away."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float64)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 8)
    return (fine + np.random.default_rng(0).normal(0, 1e-3, fine.shape)).ravel()
