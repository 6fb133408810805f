"""Which files are meant, and where their results go."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceblur.errors import InputError
from faceblur.jobs import plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with media in a tree, and things that are not media."""
    root = tmp_path / "holiday"
    for name in ("a.jpg", "b.MP4", "notes.txt", "day 2/c.png", ".hidden.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def _names(inputs: list[str], output: Path | None, root: Path) -> dict[str, str]:
    return {
        str(job.source.relative_to(root)): str(job.output.relative_to(root.parent))
        for job in plan(inputs, output)
    }


def test_a_file_gets_a_mark(folder: Path) -> None:
    assert _names([f"{folder}/a.jpg"], None, folder) == {"a.jpg": "holiday/a_blurred.jpg"}


def test_a_file_goes_where_it_is_told(folder: Path) -> None:
    out = folder.parent / "x.png"
    assert _names([f"{folder}/a.jpg"], out, folder) == {"a.jpg": "x.png"}


def test_a_directory_is_searched_and_mirrored(folder: Path) -> None:
    assert _names([str(folder)], None, folder) == {
        "a.jpg": "holiday_blurred/a.jpg",
        "b.MP4": "holiday_blurred/b.MP4",
        "day 2/c.png": "holiday_blurred/day 2/c.png",
    }


def test_a_directory_goes_into_the_named_one(folder: Path) -> None:
    out = folder.parent / "safe"
    assert set(_names([str(folder)], out, folder).values()) == {
        "safe/a.jpg",
        "safe/b.MP4",
        "safe/day 2/c.png",
    }


def test_a_pattern_is_expanded_and_its_own_results_are_left_out(folder: Path) -> None:
    (folder / "a_blurred.jpg").touch()
    assert _names([f"{folder}/*.jpg"], None, folder) == {"a.jpg": "holiday/a_blurred.jpg"}


def test_kinds(folder: Path) -> None:
    assert {job.source.name: job.kind for job in plan([str(folder)], None)} == {
        "a.jpg": "image",
        "b.MP4": "video",
        "c.png": "image",
    }


@pytest.mark.parametrize(
    ("inputs", "output", "reason"),
    [
        (["missing.jpg"], None, "does not exist"),
        (["*.nothing"], None, "matches no"),
        (["empty"], None, "holds no pictures"),
        (["a.jpg"], "a.jpg", "would replace"),
        (["a.jpg", "b.MP4"], "notes.txt", "name a directory"),
        (["a.jpg", "twin/a.jpg"], "out", "would both become"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: list[str],
    output: str | None,
    reason: str,
) -> None:
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    (folder / "twin").mkdir()
    (folder / "twin" / "a.jpg").touch()
    with pytest.raises(InputError, match=reason):
        plan(inputs, None if output is None else Path(output))
