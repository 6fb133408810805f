"""Choosing what is masked, and replaying a corrected list, as users do it on real files."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from media import Recording, decoded, moving_face_video, moving_faces, record
from PIL import Image

from faceblur.cli import main
from faceblur.detection.session import DetectionSession

Array = npt.NDArray[Any]
Run = Callable[..., Result]

ROOT = Path(__file__).resolve().parents[2]
FRAMES, RATE = 20, 25
LOSSLESS = ("--encoder", "ffv1", "--mask", "solid")
ZONE = "200,5 300,10 250,45"
TIMES = [round(40 * i / 1000, 3) for i in range(FRAMES)]


@pytest.fixture(scope="module")
def run(session: DetectionSession) -> Run:
    """Run `faceblur blur ARGUMENTS…` in this process against the shared server."""
    assert session.server is not None
    address = session.server.address

    def invoke(*arguments: str | Path) -> Result:
        line = ["blur", *map(str, arguments), "--server", address]
        return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)

    return invoke


@pytest.fixture(scope="module")
def replay() -> Run:
    """Run `faceblur blur ARGUMENTS…` where no detector can be opened at all."""

    def refuse(*_: object) -> None:
        raise AssertionError("a replay must not look for faces")

    def invoke(*arguments: str | Path) -> Result:
        line = ["blur", *map(str, arguments)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(importlib.import_module("faceblur.cli.blur"), "open_session", refuse)
            return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)

    return invoke


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    how = Recording(encoder="ffv1", options={}, pixel_format="yuv444p")
    moving_face_video(path, frames=FRAMES, width=320, height=180, recording=how)
    return path


@pytest.fixture(scope="module")
def listed(run: Run, clip: Path) -> tuple[Path, Path]:
    """What `--json` wrote of the clip, with a zone and a time, and the masked clip."""
    boxes, output = clip.with_name("found.json"), clip.with_name("masked.mkv")
    result = run(
        clip, "-o", output, "--json", boxes, *LOSSLESS, "--always", f"{ZONE} @ 0.2-0.4",
        "--spare", "0.6-",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return boxes, output


def edited(boxes: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    content = json.loads(boxes.read_text())
    change(content)
    path = boxes.with_name("edited.json")
    path.write_text(json.dumps(content))
    return path


def images(path: Path) -> list[Array]:
    return decoded(path, pixel_format="bgr24")


def in_zone() -> Array:
    """Pixels of the zone, but for those at its edges."""
    corners = np.array([[200, 5], [300, 10], [250, 45]], np.int32)
    inside = np.zeros((180, 320), np.uint8)
    cv2.fillPoly(inside, [corners], 1)
    return cv2.erode(inside, np.ones((3, 3))).astype(bool)


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


def _drop_frame(content: dict[str, Any]) -> None:
    del content["media"][0]["frames"][7]


def _shift_time(content: dict[str, Any]) -> None:
    content["media"][0]["frames"][7]["pts_s"] += 0.0001


def _swap_frames(content: dict[str, Any]) -> None:
    frames = content["media"][0]["frames"]
    frames[7], frames[8] = frames[8], frames[7]


def _swap_faces_and_times(content: dict[str, Any]) -> None:
    frames = content["media"][0]["frames"]
    frames[7]["index"], frames[8]["index"] = 8, 7
    frames[7], frames[8] = frames[8], frames[7]


def _add_frame(content: dict[str, Any]) -> None:
    content["media"][0]["frames"].append({"index": FRAMES, "pts_s": 0.8, "faces": []})


def _forget_faces(content: dict[str, Any]) -> None:
    del content["media"][0]["frames"][7]["faces"]


def _misspell_zone(content: dict[str, Any]) -> None:
    content["policy"]["zone"] = []


def _change(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        *names, last = path.split(".")
        at: Any = content
        for name in names:
            at = at[int(name)] if name.isdigit() else at[name]
        at[last] = value

    return change


FACES = "media.0.frames.7.faces"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_drop_frame, "frame 7 at 0.280 s is not in the entry of .*clip.mkv in .*edited.json"),
        (_shift_time, "frame 7 is at 0.280100 s in the entry of .*, but at 0.280000 s in the file"),
        (_swap_frames, r"frames\[8\] in .* has index 7: frames must be in order"),
        (_swap_faces_and_times, "frame 7 is at 0.320000 s"),
        (_add_frame, "frame 20 is in the entry of .* but the file has only 20"),
        (_forget_faces, r"frames\[7\] in .* lacks 'faces'"),
        (_misspell_zone, "the policy in .*edited.json has no setting 'zone'"),
        (_change("media.0.width", 640), "is 640×180 pixels, but the file 320×180"),
        (_change("media.0.sha256", "0" * 64), "is not the file that .* was made from"),
        (_change("media", []), "says nothing of .*clip.mkv"),
        (_change("version", 3), "has version 3 of the format, not 1 or 2"),
        (_change(FACES, [{"box": [0, 0, 9, 9], "track": -1}]), "must be a number from 1 on"),
        (_change("media.0.tracks", [{"certain": []}]), r"tracks\[0\] .* lacks 'id'"),
        (_change(FACES, [{"score": 1}]), r"faces\[0\] in frames\[7\] in .* lacks 'box'"),
        (_change(FACES, [{"box": [9, 9, 5, 5]}]), "ends before it starts"),
        (_change(FACES, [{"box": [0, 0, 9, "x"]}]), "must be a number"),
        (_change(FACES, [{"box": [0, 0, 9, float("nan")]}]), "must be a number"),
        (_change(FACES, [{"box": [0, 0, 9, 10**400]}]), "must be a number"),
        (_change(FACES, [{"box": [0, 0, 9, 1e30]}]), "beyond any image"),
        (_change(FACES, [{"box": [0, 0, 9, 9], "score": 7}]), "must be 0 to 1"),
        (_change(FACES, [{"box": [0, 0, 9, 9], "landmarks": [[1, 2]]}]), "must be five points"),
        (_change(FACES, ["face"]), "must be an object"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_and_nothing_is_written(
    replay: Run,
    clip: Path,
    listed: tuple[Path, Path],
    tmp_path: Path,
    change: Callable[[dict[str, Any]], None],
    reason: str,
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    result = replay(clip, "-o", out / "out.mkv", "--boxes", edited(listed[0], change))
    assert result.exit_code == 3
    text = " ".join(result.stderr.split())
    assert re.search(reason, text), text
    assert text.count("faceblur:") == 1
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("content", ["", "[1, 2", "[]", '"text"', "null", "{}", "\x00\xff"])
def test_what_is_no_list_at_all_is_refused(
    replay: Run, clip: Path, tmp_path: Path, content: str
) -> None:
    boxes = tmp_path / "boxes.json"
    boxes.write_bytes(content.encode("latin-1"))
    result = replay(clip, "-o", tmp_path / "out.mkv", "--boxes", boxes)
    assert result.exit_code == 3
    assert "boxes.json" in result.stderr
    assert not (tmp_path / "out.mkv").exists()


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


@pytest.mark.parametrize(
    "option", [("--threshold", "0.1"), ("--server", "localhost:1"), ("--detect-every", "2")]
)
def test_options_that_find_faces_are_refused_with_a_list(
    replay: Run, clip: Path, listed: tuple[Path, Path], tmp_path: Path, option: tuple[str, str]
) -> None:
    result = replay(clip, "-o", tmp_path / "out.mkv", "--boxes", listed[0], *option)
    assert result.exit_code == 3
    assert f"leave out {option[0]}" in " ".join(result.stderr.split())


def test_the_list_itself_is_not_replaced(
    replay: Run, clip: Path, listed: tuple[Path, Path], tmp_path: Path
) -> None:
    before = listed[0].read_bytes()
    result = replay(clip, "-o", tmp_path / "o.mkv", "--boxes", listed[0], "--json", listed[0])
    assert (result.exit_code, "name another" in result.stderr) == (3, True)
    assert listed[0].read_bytes() == before


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


# The documentation


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
