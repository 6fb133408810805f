"""Each file is in exactly one shard, on every machine and at any time."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from media import moving_face_video

from faceblur.cli import main
from faceblur.cluster.shards import Shard, parse_shard
from faceblur.errors import InputError
from faceblur.proof.audit.chains import read


def test_each_file_is_in_one_shard_and_shards_are_about_as_large() -> None:
    names = [f"camera {n % 7}/clip {n}.mp4" for n in range(2000)]
    shards = [Shard(index, 8) for index in range(8)]
    held = [[shard.holds(name) for shard in shards] for name in names]
    assert all(sum(row) == 1 for row in held)
    assert all(200 < sum(column) < 300 for column in zip(*held, strict=True))
    # For good: machines of one run may have different versions of Python.
    assert [n for n in range(8) if Shard(n, 8).holds("b/ü.mp4")] == [4]
    assert sum(Shard(n, 8).holds("\udcff.png") for n in range(8)) == 1
    assert Shard(0, 1).holds("anything")


@pytest.mark.parametrize("text", ["", "1", "1/", "4/4", "0/0", "-1/4", "1/x", "١/٤"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    assert parse_shard("3/4") == Shard(3, 4)
    with pytest.raises(InputError, match=re.escape(f"--shard {text} ")):
        parse_shard(text)


@pytest.fixture
def tree(tmp_path: Path, portrait: npt.NDArray[np.uint8]) -> Path:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    small = cv2.resize(portrait, (200, 200), interpolation=cv2.INTER_AREA)
    for number, name in enumerate(("a.png", "b.png", "sub/c.png", "sub/d.png", "e.png")):
        cv2.imwrite(str(folder / name), np.roll(small, 9 * number, axis=1))
    (folder / "raw.jxl").write_bytes(b"\xff\x0a")
    return folder


def test_all_shards_together_make_what_one_machine_makes(
    tree: Path, tmp_path: Path, bundled_server: str
) -> None:
    def blur(out: str, *options: str) -> Result:
        line = ["blur", str(tree), "-o", str(tmp_path / out), "--server", bundled_server, *options]
        return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)

    assert blur("one").exit_code == 1
    record = tmp_path / "record"
    shards = [blur("many", "--shard", f"{n}/3", "--audit", str(record)) for n in range(3)]
    # Of what could not be checked, one shard says so.
    assert sorted(result.exit_code for result in shards) == [0, 0, 1]
    made = {path.name: path.read_bytes() for path in (tmp_path / "many").rglob("*.png")}
    assert made == {path.name: path.read_bytes() for path in (tmp_path / "one").rglob("*.png")}
    assert len(made) == 5
    # One audit of them all, which each has sealed; a later run finds in it what others have made.
    audit = read(record)
    assert len(audit.entries) == 5
    assert audit.head in shards[-1].stdout
    again = blur("many", "--shard", "0/1", "--audit", str(record))
    assert "5 files skipped" in again.stdout
    assert len(list((tmp_path / "many" / ".faceblur").glob("finished-*.jsonl"))) <= 3
    empty = blur("many", "--shard", "41/1000")
    assert (empty.exit_code, empty.stderr) == (0, "none of the files is in this shard\n")


def test_a_shard_refuses_and_takes_what_all_files_together_would(
    tree: Path, tmp_path: Path, portrait: npt.NDArray[np.uint8]
) -> None:
    def blur(*options: str) -> Result:
        line = ["blur", str(tree), "-o", str(tmp_path / "out"), "--in-process", "--size", "320"]
        return CliRunner().invoke(main, [*line, *options], prog_name="faceblur")

    # Tracks are of one video: that each shard has but one makes them no less wrong.
    listed = tmp_path / "list.json"
    listed.write_text('{"version": 1, "media": []}')
    for options in (["--only", "1"], ["--only", "1", "--boxes", str(listed)]):
        for shard in ("0/1", "0/1000"):
            said = blur(*options, "--shard", shard)
            assert (said.exit_code, said.stderr.count("\n")) == (3, 1), said.output
            assert said.stderr == blur(*options).stderr
    # Times concern the video alone, which another shard has.
    moving_face_video(tree / "clip.mp4", frames=2, width=160, height=90)
    part = Shard(0, 9).of("a.png")
    assert not any(Shard(part, 9).holds(name) for name in ("clip.mp4", "raw.jxl"))
    done = blur("--moving", "--hide", "0:01-0:02", "--shard", f"{part}/9")
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    assert (tmp_path / "out" / "a.png").exists()
    # 3 would say that another start is of no use.
    (tree / "sub" / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    failed = blur("--shard", f"{Shard(0, 9).of('sub/c.png')}/9")
    assert (failed.exit_code, failed.stderr.count("\n")) == (1, 1), failed.output
    assert str(tree / "sub" / "c.png") in failed.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--shard", "5"], "--shard 5 is no shard"),
        (["--on", "spark"], "--on spark is no cluster: give ray, or ray://HOST:PORT"),
        (["--on", "ray", "--shard", "0/2"], "leave out --shard"),
        (["--workers-per-gpu", "2"], "--workers-per-gpu is for a cluster"),
        (["--audit", "AUDIT"], "--shard 0/1"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(
    tree: Path, tmp_path: Path, options: list[str], sentence: str
) -> None:
    (tmp_path / "record" / "chains").mkdir(parents=True)
    (tmp_path / "record" / "seal.json").write_text("{}")
    options = [str(tmp_path / "record") if text == "AUDIT" else text for text in options]
    line = ["blur", str(tree), "-o", str(tmp_path / "out"), *options]
    result = CliRunner().invoke(main, line, prog_name="faceblur")
    assert result.exit_code == 3
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
