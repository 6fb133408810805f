"""A list that does not fit its file is refused, and nothing is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from choices import FRAMES, Run, edited


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
