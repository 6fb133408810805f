"""Which files are meant, and where their results go."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faceblur.batch.jobs import plan, survey
from faceblur.cli.summary import left_alone
from faceblur.errors import InputError
from faceblur.image.io import read_image
from faceblur.video.kinds import kind_of
from faceblur.video.source import VideoSource


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
@pytest.mark.parametrize(
    "read", [lambda path: plan([str(path)], None), kind_of, read_image, VideoSource]
)
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "endless.mp4").symlink_to("/dev/zero")
    for path in tmp_path.iterdir():
        with pytest.raises(InputError, match="is a pipe or a device"):
            read(path)
    with pytest.raises(InputError, match=r"not checked: .*endless\.mp4.*pipe\.jpg"):
        plan([str(tmp_path)], None)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps folders that are in use")
def test_a_current_folder_that_was_removed_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(InputError, match="the current folder was removed"):
        plan([str(folder)], None)


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


@pytest.mark.parametrize("output", [None, "safe"])
@pytest.mark.parametrize("searched", ["", "/*.jpg"])
def test_what_counts_as_the_result_of_an_earlier_run_is_said(
    folder: Path, searched: str, output: str | None
) -> None:
    beside = folder / "a_blurred.jpg"
    beside.touch()
    into = None if output is None else folder.parent / output
    found = survey([f"{folder}{searched}"], into, into_folder=into is not None)
    assert beside not in [job.source for job in found.jobs]
    assert found.earlier == [beside]
    said = "; 1 result of earlier runs left alone: a_blurred.jpg"
    assert left_alone(found) == said + ("" if searched else "; 2 other files left alone")
    # Whoever names it has it masked.
    inputs = [str(beside)] if into is None else [f"{folder}{searched}", str(beside)]
    named = survey(inputs, into, into_folder=into is not None)
    assert beside in [job.source for job in named.jobs]
    assert named.earlier == []


def test_results_are_named_and_noted_in_their_tree(folder: Path) -> None:
    out = folder.parent / "safe"
    jobs = plan([str(folder)], out)
    assert {job.tree for job in jobs} == {out}
    assert [(job.source_name, job.output_name) for job in jobs] == [
        (name, name) for name in ("a.jpg", "b.MP4", "day 2/c.png")
    ]
    (mirrored,) = {job.tree for job in plan([str(folder)], None)}
    assert mirrored == folder.with_name("holiday_blurred")
    beside = plan([f"{folder}/a.jpg", f"{folder}/day 2/c.png"], None)
    assert [job.tree for job in beside] == [folder, folder / "day 2"]
    assert [job.output_name for job in beside] == ["a_blurred.jpg", "c_blurred.png"]


def test_a_single_file_is_not_noted(folder: Path) -> None:
    (job,) = plan([f"{folder}/a.jpg"], None)
    assert (job.tree, job.output_name) == (None, "a_blurred.jpg")


def test_results_inside_the_searched_folder_are_left_out(folder: Path) -> None:
    out = folder / "out"
    out.mkdir()
    (out / "a.jpg").touch()
    found = survey([str(folder)], out)
    assert [job.source_name for job in found.jobs] == ["a.jpg", "b.MP4", "day 2/c.png"]
    assert found.earlier == [out / "a.jpg"]
    assert left_alone(found) == (
        "; 1 result of earlier runs left alone: a.jpg; 2 other files left alone"
    )


def test_a_link_to_a_file_elsewhere_is_mirrored_under_its_own_name(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere.jpg"
    elsewhere.touch()
    (folder / "link.jpg").symlink_to(elsewhere)
    assert folder.with_name("holiday_blurred") / "link.jpg" in {
        job.output for job in plan([str(folder)], None)
    }


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
        (["empty"], None, "holds no images"),
        (["a.jpg"], "a.jpg", "would replace"),
        (["a.jpg", "b.MP4"], "notes.txt", "name a directory"),
        (["a.jpg", "twin/a.jpg"], "out", "would both become"),
        (["a.jpg", "a_blurred.jpg"], None, "which is to be masked too"),
        (["day 2", "a.jpg"], ".", r"day 2 lies in \., where the results would go; name"),
        (["."], "..", r"\. lies in \.\., where the results would go"),
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
    (folder / "a_blurred.jpg").touch()
    (folder / "twin").mkdir()
    (folder / "twin" / "a.jpg").touch()
    with pytest.raises(InputError, match=reason):
        plan(inputs, None if output is None else Path(output))
