"""Choosing what is masked by zones, times and heights, as users do it on real files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from choices import LOSSLESS, ROOT, TIMES, ZONE, Run, images, in_zone
from media import moving_faces
from PIL import Image

# Zones and times


def test_zones_and_times_hold_to_the_frame_and_to_the_pixel(
    clip: Path, listed: tuple[Path, Path]
) -> None:
    inside = in_zone()
    away = ~cv2.dilate(inside.astype(np.uint8), np.ones((5, 5))).astype(bool)
    frames = json.loads(listed[0].read_text())["media"][0]["frames"]
    masked = zip(TIMES, frames, images(clip), images(listed[1]), strict=True)
    for time, frame, before, after in masked:
        assert (after[inside] < 8).all() == (0.2 <= time < 0.4), time
        spared = time >= 0.6
        assert (not frame["faces"]) == spared
        # Without faces and zones, the frame is as it was.
        changed = (np.abs(after.astype(int) - before) > 2).any(axis=2) & away
        assert changed.any() != spared, time


def test_hidden_frames_show_nothing(run: Run, clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    result = run(clip, "-o", output, *LOSSLESS, "--hide", "0.16-0.3", "--hide", "0.7-")
    assert result.exit_code == 0, result.output
    # 0.28 is shown until 0.32, 0.68 until 0.72.
    hidden = [t for t in TIMES if 0.16 <= t <= 0.28 or t >= 0.68]
    black = [t for t, p in zip(TIMES, images(output), strict=True) if (p < 8).all()]
    assert black == hidden


def test_a_face_in_a_never_zone_is_left_alone(run: Run, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    before = cv2.imread(str(ROOT / "docs" / "images" / "before.jpg"))
    cv2.imwrite(str(photo), before)
    output = tmp_path / "out.png"
    for zone, expected in (("0,0 100%,0 100%,50% 0,50%", 0), ("0,0 45%,0 45%,50% 0,50%", 1)):
        result = run(photo, "-o", output, "--never", zone, "--threshold", 0.2)
        assert result.exit_code == 0, result.output
        assert f"{expected} face" in result.stdout
        assert np.array_equal(cv2.imread(str(output)), before) == (expected == 0)


def test_faces_below_a_height_are_left_alone(run: Run, tmp_path: Path) -> None:
    photo = Path(shutil.copy(ROOT / "docs" / "images" / "before.jpg", tmp_path))
    assert "1 face masked" in run(photo, "--min-face", 60, "--threshold", 0.2).stdout
    assert "0 faces masked" in run(photo, "--min-face", 300, "--threshold", 0.2).stdout


def test_a_soft_edge_surrounds_the_mask(run: Run, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), cv2.imread(str(ROOT / "docs" / "images" / "before.jpg")))
    hard, soft = tmp_path / "hard.png", tmp_path / "soft.png"
    assert run(photo, "-o", hard, "--mask", "solid").exit_code == 0
    assert run(photo, "-o", soft, "--mask", "solid", "--feather", 0.3).exit_code == 0
    black = [(cv2.imread(str(path)) == 0).all(axis=2) for path in (hard, soft)]
    assert black[1][black[0]].all()
    assert (cv2.imread(str(soft)) != cv2.imread(str(hard))).any()


def test_times_for_still_images_alone_are_refused(run: Run, clip: Path, tmp_path: Path) -> None:
    photo = Path(shutil.copy(ROOT / "docs" / "images" / "before.jpg", tmp_path))
    for option in (("--hide", "0-1"), ("--spare", "0-1"), ("--always", f"{ZONE} @ 0-1")):
        result = run(photo, *option)
        assert (result.exit_code, "a still image has no times" in str(result.stderr)) == (3, True)
    assert [path.name for path in tmp_path.iterdir()] == [photo.name]
    # Beside a video they do not concern the image: its face is masked.
    result = run(photo, clip, "-o", tmp_path / "out", "--spare", "0-")
    assert result.exit_code == 0, result.output
    after = cv2.imread(str(tmp_path / "out" / photo.name))
    assert cv2.norm(after, cv2.imread(str(photo)), cv2.NORM_INF) > 30


def test_times_count_in_animations(run: Run, tmp_path: Path) -> None:
    source, output = tmp_path / "clip.gif", tmp_path / "out.gif"
    frames, _ = moving_faces(4, width=160, height=90)
    first, *others = (Image.fromarray(frame[:, :, ::-1]) for frame in frames)
    first.save(source, save_all=True, append_images=others, duration=100)
    result = run(source, "-o", output, "--mask", "solid", "--hide", "0.1-0.2")
    assert result.exit_code == 0, result.output
    with Image.open(output) as image:
        black = []
        for index in range(4):
            image.seek(index)
            black.append(bool((np.asarray(image.convert("RGB")) == 0).all()))
    assert black == [False, True, False, False]
