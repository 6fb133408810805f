"""What `faceblur blur` masks and writes, on real files, through a real server."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from blur_runs import Run
from click.testing import CliRunner
from media import Recording, moving_face_video, pattern, record

from faceblur.cli import main
from faceblur.detection.models import Media, automatic_model
from faceblur.detection.options import DetectionOptions
from faceblur.errors import InputError
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.schema.conversion import to_json

BLACK = 8
"""Video encoders do not keep black at exactly 0."""


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


def test_quiet_says_nothing(run: Run, photo: Path) -> None:
    result = run(photo, "--quiet")
    assert (result.exit_code, result.output) == (0, "")


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
