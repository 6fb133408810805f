"""`faceblur verify` of images: faces among others, large, dark, in crowds and on pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from verified_clips import FACE, Run, encode, leaks

from faceblur.image.pixels import BgrImage


@pytest.fixture
def two_faces(portrait: BgrImage) -> BgrImage:
    """Two faces side by side."""
    return np.concatenate([portrait[:, 60:360], portrait[:, 60:360]], axis=1)


@pytest.mark.parametrize(
    "policy",
    [("--min-face", "400"), ("--never", "0,0 100%,0 100%,100% 0,100%")],
    ids=["small", "zone"],
)
def test_what_the_policy_leaves_alone_is_no_leak(
    run: Run, portrait: BgrImage, tmp_path: Path, policy: tuple[str, ...]
) -> None:
    source, output, audit = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "audit"
    cv2.imwrite(str(source), portrait)
    assert run("blur", source, "-o", output, "--audit", audit, *policy).exit_code == 0
    assert run("verify", output, "--source", source).exit_code == 1
    result = run("verify", output, "--source", source, "--audit", audit)
    assert result.exit_code == 0, result.output
    assert "left alone on purpose" in result.stdout
    alone = run("verify", output, "--audit", audit)
    assert alone.exit_code == 0, alone.output


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("beside", [True, False], ids=["source", "alone"])
def test_one_unmasked_face_of_two_is_found(
    run: Run, two_faces: BgrImage, tmp_path: Path, suffix: str, beside: bool
) -> None:
    source, output, found = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", tmp_path / "found"
    cv2.imwrite(str(source), two_faces)
    assert run("blur", source, "-o", output).exit_code == 0
    given = ("--source", source) if beside else ()
    assert run("verify", output, *given).exit_code == 0
    masked = cv2.imread(str(output))
    masked[:, 300:] = cv2.imread(str(source))[:, 300:]
    cv2.imwrite(str(output), masked, [cv2.IMWRITE_JPEG_QUALITY, 40])
    result = run("verify", output, *given, "--json", found)
    assert result.exit_code == 1, result.output
    (leak,) = json.loads(found.read_text())["leaks"]
    assert leak["box"][0] > 300


def test_a_face_that_fills_the_image_can_be_judged(
    run: Run, portrait: BgrImage, tmp_path: Path
) -> None:
    source, output, other = (tmp_path / f"{name}.png" for name in ("a", "b", "c"))
    near = portrait[20:230, 115:325]
    cv2.imwrite(str(source), cv2.resize(near, (512, 512), interpolation=cv2.INTER_CUBIC))
    assert run("blur", source, "-o", output, "--expand", "0.45").exit_code == 0
    result = run("verify", output, "--source", source)
    assert result.exit_code == 0, result.output
    assert "no leak found" in result.stdout
    # What is left around the mask still tells another image apart.
    cv2.imwrite(str(other), cv2.imread(str(source))[::-1, ::-1])
    result = run("verify", output, "--source", other)
    assert result.exit_code == 2, result.output
    assert "does not show what the source shows" in result.stderr


@pytest.mark.parametrize("beside", [True, False], ids=["source", "alone"])
def test_frames_too_dark_or_flat_to_judge_are_no_proof(
    run: Run, portrait: BgrImage, tmp_path: Path, beside: bool
) -> None:
    source, found = tmp_path / "a.mp4", tmp_path / "found.json"
    clear = np.full((272, 272, 3), 90, np.uint8)
    clear[:, 136:] = 200
    face = cv2.resize(portrait, (272, 272), interpolation=cv2.INTER_AREA)
    fog, dark = (np.asarray(face * 0.1 + level, np.uint8) for level in (180, 4))
    black = np.zeros_like(fog)
    encode(source, [clear, fog, dark, black, clear], crf=12)
    given = ("--source", source) if beside else ()
    # Nothing was found in it, so nothing was masked.
    result = run("verify", source, *given, "--threshold", "0.95", "--json", found)
    assert result.exit_code == 2, result.output
    assert "too dark or flat to judge in 2 frames (0.040 s, 0.080 s)" in result.stderr
    assert "not verified" in result.stdout
    assert result.stdout.endswith("; 2 frames too dark or flat to judge\n")
    report = json.loads(found.read_text())
    assert report["result"] == "error"
    assert [frame["frame"] for frame in report["too_dark_or_flat"]] == [1, 2]


def test_a_crowd_is_looked_at_in_parts(run: Run, portrait: BgrImage, tmp_path: Path) -> None:
    source, output = tmp_path / "a.png", tmp_path / "b.png"
    tile = cv2.resize(portrait[0:400, 60:460], (64, 64), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(source), np.tile(tile, (20, 30, 1)))
    assert run("blur", source, "-o", output).exit_code == 0
    masked = cv2.imread(str(output))
    masked[64:128, 128:192] = tile
    cv2.imwrite(str(output), masked)
    found = tmp_path / "found.json"
    result = run("verify", output, "--source", source, "--json", found, "-v")
    assert result.exit_code == 1, result.output
    assert result.stderr.count("it is detected in parts") == 1
    boxes = np.array([leak["box"] for leak in json.loads(found.read_text())["leaks"]])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert np.abs(middles - (160, 96)).max() < 40


@pytest.mark.parametrize("suffix", [".gif", ".tif"])
def test_one_page_of_many_is_found(
    run: Run, portrait: BgrImage, tmp_path: Path, suffix: str
) -> None:
    source, output, found = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", tmp_path / "found"
    small = cv2.resize(portrait, (200, 200), interpolation=cv2.INTER_AREA)
    _pages(source, [np.roll(small, 20 * index, axis=1) for index in range(3)])
    assert run("blur", source, "-o", output).exit_code == 0
    assert run("verify", output, "--source", source).exit_code == 0
    pages = [_page(output, 0), _page(source, 1), _page(output, 2)]
    _pages(output, pages)
    result = run("verify", output, "--source", source, "--json", found)
    assert result.exit_code == 1, result.output
    assert leaks(result, found) == [1]
    _pages(output, pages[:2])
    assert "lacks 1 frame" in run("verify", output, "--source", source).stderr


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_frames_that_masking_made_the_same_are_no_missing_ones(
    run: Run, portrait: BgrImage, tmp_path: Path, suffix: str
) -> None:
    source, output, audit = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", tmp_path / "audit"
    small = cv2.resize(portrait, (200, 200), interpolation=cv2.INTER_AREA)
    # Few colours, so that a palette holds them, and a pixel that is seen under no mask.
    few = np.asarray(Image.fromarray(small).quantize(64).convert("RGB"))
    winking = few.copy()
    middle = ((FACE[:2] + FACE[2:]) / 2 * 200 / 512).astype(int)
    winking[middle[1], middle[0]] ^= 1
    frames = [few, winking, few, *(np.roll(each, 20, axis=1) for each in (few, winking))]
    _pages(source, frames)
    line = ("blur", source, "-o", output, "--audit", audit, "--mask", "solid", "--shape", "box")
    assert run(*line).exit_code == 0
    with Image.open(output) as image:
        assert image.n_frames == 2  # type: ignore[attr-defined]
    beside = ("--source", source)
    for given in (beside, ("--audit", audit), (*beside, "--audit", audit)):
        result = run("verify", output, *given)
        assert (result.exit_code, "5 frames" in result.stdout) == (0, True), result.output
    # Something else has moved, so a frame is missing.
    frames[1] = frames[1].copy()
    frames[1][:10, :10] = 255 - frames[1][:10, :10]
    other = tmp_path / f"other{suffix}"
    _pages(other, frames)
    result = run("verify", output, "--source", other)
    assert result.exit_code == 2
    assert "lacks 1 frame (0.100 s)" in result.stderr
    # The last one is not shown long enough to stand for two.
    pages = [Image.fromarray(_page(output, index)[:, :, ::-1]) for index in range(2)]
    pages[0].save(output, save_all=True, append_images=pages[1:], duration=[300, 100])
    result = run("verify", output, "--source", source)
    assert result.exit_code == 2
    assert "lacks 1 frame (0.400 s)" in result.stderr
    # All of them may become one, which is no animation any more.
    _pages(source, [few, winking, few])
    assert run(*line).exit_code == 0
    assert not getattr(Image.open(output), "is_animated", False)
    assert run("verify", output, *beside, "--audit", audit).exit_code == 0


def _pages(path: Path, pages: Sequence[BgrImage]) -> None:
    first, *rest = [Image.fromarray(page[:, :, ::-1]) for page in pages]
    first.save(path, save_all=True, append_images=rest, duration=100)


def _page(path: Path, index: int) -> BgrImage:
    with Image.open(path) as image:
        image.seek(index)
        return np.asarray(image.convert("RGB"), np.uint8)[:, :, ::-1]
