"""Replaying a list of faces, as it was written and as somebody has corrected it."""

from __future__ import annotations

import json
import re
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from choices import LOSSLESS, ROOT, TIMES, Run, edited, images, in_zone
from media import Recording, moving_faces, record
from PIL import Image
from probing import decoded

# Replays


def test_a_replay_gives_the_identical_frames(
    replay: Run, clip: Path, listed: tuple[Path, Path], tmp_path: Path
) -> None:
    boxes, masked = listed
    output, again = tmp_path / "again.mkv", tmp_path / "again.json"
    result = replay(clip, "-o", output, "--boxes", boxes, "--json", again, "--encoder", "ffv1")
    assert result.exit_code == 0, result.output
    assert f"boxes of {boxes}" in result.stdout
    for expected, found in zip(decoded(masked), decoded(output), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert json.loads(again.read_text()) == json.loads(boxes.read_text())


def test_a_list_of_version_1_is_still_read(
    replay: Run, clip: Path, listed: tuple[Path, Path], tmp_path: Path
) -> None:
    def age(content: dict[str, Any]) -> None:
        content["version"] = 1
        del content["media"][0]["tracks"]
        for frame in content["media"][0]["frames"]:
            for face in frame["faces"]:
                del face["track"]

    output = tmp_path / "again.mkv"
    result = replay(clip, "-o", output, "--boxes", edited(listed[0], age), "--encoder", "ffv1")
    assert result.exit_code == 0, result.output
    for expected, found in zip(decoded(listed[1]), decoded(output), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_list_sums_up_the_tracks_that_its_faces_name(listed: tuple[Path, Path]) -> None:
    media = json.loads(listed[0].read_text())["media"][0]
    (track,) = media["tracks"]
    seen = [frame for frame in media["frames"] if frame["faces"]]
    assert {face["track"] for frame in seen for face in frame["faces"]} == {track["id"]} == {1}
    assert (track["first_s"], track["last_s"]) == (seen[0]["pts_s"], seen[-1]["pts_s"])
    assert track["frames"] == len(seen)
    boxes = [face["box"] for frame in seen for face in frame["faces"] if face["score"] > 0]
    heights = [round(box[3] - box[1], 2) for box in boxes]
    assert track["largest_height"] == pytest.approx(max(heights), abs=0.02)
    best = media["frames"][track["best_frame"]]["faces"][0]["box"]
    assert best[3] - best[1] > 0.9 * max(heights)
    ((start_s, end_s),) = track["certain"]
    assert seen[0]["pts_s"] < start_s < end_s < seen[-1]["pts_s"]


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".webp"])
def test_a_replay_of_images_gives_the_identical_pages(
    run: Run, replay: Run, tmp_path: Path, suffix: str
) -> None:
    frames, _ = moving_faces(3, width=320, height=240)
    pages = [Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1])) for frame in frames]
    source, boxes = tmp_path / f"pages{suffix}", tmp_path / "found.json"
    more = {} if suffix == ".png" else {"save_all": True, "append_images": pages[1:]}
    lossless = {"lossless": True} if suffix == ".webp" else {}
    pages[0].save(source, **more, **lossless)
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    assert run(source, "-o", first, "--json", boxes, "--mask", "blur").exit_code == 0
    listed = json.loads(boxes.read_text())["media"][0]["frames"]
    assert [len(frame["faces"]) for frame in listed] == [1] * len(listed)
    assert replay(source, "-o", second, "--boxes", boxes).exit_code == 0
    assert second.read_bytes() == first.read_bytes()


def test_a_replay_renders_what_a_person_has_corrected(
    replay: Run, clip: Path, listed: tuple[Path, Path], tmp_path: Path
) -> None:
    def change(content: dict[str, Any]) -> None:
        frames = content["media"][0]["frames"]
        frames[2]["faces"] = []
        frames[3]["faces"] = [{"box": [5, 150, 30, 175]}]
        frames[4]["faces"].append({"box": [5, 150, 30, 175], "landmarks": [], "note": "a poster"})

    output = tmp_path / "out.mkv"
    boxes = edited(listed[0], change)
    result = replay(clip, "-o", output, "--boxes", boxes, "--encoder", "ffv1")
    assert result.exit_code == 0, result.output
    before, masked, after = images(clip), images(listed[1]), images(output)
    np.testing.assert_array_equal(after[1], masked[1])
    np.testing.assert_array_equal(after[2], before[2])
    drawn = np.s_[153:172, 8:27]
    assert (after[3][drawn] < 8).all()
    np.testing.assert_array_equal(after[3][:125], before[3][:125])
    assert (after[4][drawn] < 8).all()
    np.testing.assert_array_equal(after[4][:125], masked[4][:125])
    # Nothing is tracked over the frames beside.
    np.testing.assert_array_equal(after[5], masked[5])


def test_the_command_line_changes_the_mask_and_adds_to_the_zones_of_a_replay(
    replay: Run, clip: Path, listed: tuple[Path, Path], tmp_path: Path
) -> None:
    output, again = tmp_path / "out.mkv", tmp_path / "again.json"
    result = replay(
        clip, "-o", output, "--boxes", listed[0], "--encoder", "ffv1", "--json", again,
        "--colour", "ffffff", "--always", "0,0 20,0 20,20 0,20", "--min-face", 10,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    after = images(output)
    assert all((frame[:20, :20] > 247).all() for frame in after)
    assert [bool((frame[in_zone()] > 247).all()) for frame in after] == [
        0.2 <= time < 0.4 for time in TIMES
    ]
    policy = json.loads(again.read_text())["policy"]
    assert (policy["mask"]["mode"], policy["mask"]["colour"]) == ("solid", [255, 255, 255])
    assert (len(policy["zones"]), len(policy["spans"]), policy["min_face"]) == (2, 1, 10)


def test_a_image_of_the_same_name_and_size_is_not_taken_for_the_listed_one(
    run: Run, replay: Run, tmp_path: Path
) -> None:
    photo = Path(shutil.copy(ROOT / "docs" / "images" / "before.jpg", tmp_path / "photo.jpg"))
    boxes = tmp_path / "found.json"
    assert run(photo, "--json", boxes).exit_code == 0
    moved = photo.rename(tmp_path / "renamed.jpg")
    assert replay(moved, "-o", tmp_path / "a.jpg", "--boxes", boxes).exit_code == 0
    cv2.imwrite(str(photo), cv2.flip(cv2.imread(str(moved)), 1))
    result = replay(photo, "-o", tmp_path / "b.jpg", "--boxes", boxes)
    assert (result.exit_code, "its content differs" in result.stderr) == (3, True)
    assert not (tmp_path / "b.jpg").exists()


def test_a_folder_with_copies_is_replayed_each_file_by_its_own_entry(
    run: Run, replay: Run, tmp_path: Path
) -> None:
    folder, boxes = tmp_path / "in", tmp_path / "found.json"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), cv2.imread(str(ROOT / "docs" / "images" / "before.jpg")))
    assert run(folder, "-o", tmp_path / "first", "--json", boxes).exit_code == 0

    def change(content: dict[str, Any]) -> None:
        (b,) = (media for media in content["media"] if media["path"].endswith("b.png"))
        b["frames"][0]["faces"] = []

    result = replay(folder, "-o", tmp_path / "second", "--boxes", edited(boxes, change))
    assert result.exit_code == 0, result.output
    content = {path.name: path.read_bytes() for path in (tmp_path / "second").glob("*.png")}
    assert content["a.png"] == (tmp_path / "first" / "a.png").read_bytes()
    pixels = cv2.imdecode(np.frombuffer(content["b.png"], np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(pixels, cv2.imread(str(folder / "b.png")))


def test_frames_at_uneven_times_are_hidden_by_when_they_are_shown(
    replay: Run, tmp_path: Path
) -> None:
    """A frame that stands for a second is hidden if any part of that second is."""
    source, boxes = tmp_path / "slides.mkv", tmp_path / "boxes.json"
    frames, _ = moving_faces(5, width=160, height=90)
    times = [0, 40, 1040, 1080, 2000]
    how = Recording(
        encoder="ffv1", options={}, times=times, time_base=Fraction(1, 1000), rate=Fraction(25)
    )
    record(source, frames, how)
    listed = [{"index": i, "pts_s": t / 1000, "faces": []} for i, t in enumerate(times)]
    media = {"path": str(source), "width": 160, "height": 90, "frames": listed}
    boxes.write_text(json.dumps({"version": 1, "media": [media]}))
    output = tmp_path / "out.mkv"
    result = replay(
        source,
        "-o",
        output,
        "--boxes",
        boxes,
        *LOSSLESS,
        "--hide",
        "0.5-0.6",
        "--hide",
        "1.05-1.08",
    )
    assert result.exit_code == 0, result.output
    assert [bool((p < 8).all()) for p in images(output)] == [False, True, True, False, False]


def test_the_worked_example_works(
    run: Run, replay: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "masks.md").read_text().partition("## Review, correct, render")[2]
    (detect, render) = re.findall(r"^faceblur blur (.*)$", page, re.MULTILINE)
    corrected = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])
    image = "docs/images/before.jpg"
    (tmp_path / image).parent.mkdir(parents=True)
    shutil.copy(ROOT / image, tmp_path / image)
    monkeypatch.chdir(tmp_path)
    assert run(*detect.split()).exit_code == 0
    found = Path("found.json")
    content = json.loads(found.read_text())
    frame = content["media"][0]["frames"][0]
    difference = np.subtract(frame["faces"][0]["box"], corrected["faces"][0]["box"])
    assert np.abs(difference).max() < 15
    content["media"][0]["frames"][0] = corrected
    found.write_text(json.dumps(content))
    result = replay(*render.split())
    assert result.exit_code == 0, result.output
    assert "2 faces masked in 1 frame" in result.stdout
    x0, y0, x1, y1 = corrected["faces"][1]["box"]
    badge = np.s_[y0 + 10 : y1 - 10, x0 + 10 : x1 - 10]
    before, after = (cv2.imread(name)[badge].astype(int) for name in (image, "final.png"))
    assert np.abs(after - before).mean() > 10
