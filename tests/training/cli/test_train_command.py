"""`faceblur-train` on the command line: check, pack, train, resume, and one sentence per error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner, Result
from waiting import until

from faceblur_training.cli.train import main
from faceblur_training.data.pack import Pack
from faceblur_training.loop import checkpointing

SMALL = ["--set", "batch=2", "--set", "sides=[64]", "--set", "validate_at=64"]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_check_counts_and_draws(labelled_folder: Path, tmp_path: Path) -> None:
    result = command("check", labelled_folder, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0
    assert "20, of which 20 labelled" in result.output
    assert "128×128: 20" in result.output
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_check_names_every_problem_and_fails(labelled_folder: Path) -> None:
    (labelled_folder / "images" / "03.png").write_bytes(b"broken")
    labels = labelled_folder / "labels.txt"
    text = labels.read_text().splitlines()
    text[2] = "500 500 20 20 face"
    labels.write_text("\n".join([*text, "gone.png", "0"]))
    result = command("check", labelled_folder)
    assert result.exit_code == 3
    assert "gone.png does not exist" in result.output
    assert "03.png is not an image" in result.output
    assert "lies outside 00.png" in result.output
    assert "problems      3" in result.output


def test_check_names_what_is_no_error(labelled_folder: Path) -> None:
    labels = labelled_folder / "labels.txt"
    lines = labels.read_text().splitlines()
    lines[2] = "10 10 0.5 0.5 face"
    first_of_last = max(n for n, line in enumerate(lines) if line.startswith("images/"))
    labels.write_text("\n".join(lines[:first_of_last]))
    result = command("check", labelled_folder)
    assert result.exit_code == 0
    assert "1 thinner than a pixel are left out" in result.output
    assert "unlabelled    images/19.png\n" in result.output


def test_copies_of_evaluation_images_are_named_and_left_out(
    labelled_folder: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    image = cv2.imread(str(labelled_folder / "images" / "07.png"))
    cv2.imwrite(str(kept / "x.jpg"), cv2.resize(image[:, ::-1], (90, 90)))
    result = command("check", labelled_folder, "--against", kept)
    assert result.exit_code == 0
    assert [line for line in result.output.splitlines() if "copy" in line] == [
        f"copy          {labelled_folder / 'images' / '07.png'} of {kept / 'x.jpg'}"
    ]
    listed = tmp_path / "list.txt"
    listed.write_text("images/03.png\n")
    options = ["--leave-out", kept, "--leave-out", listed]
    assert command("pack", labelled_folder, "--out", tmp_path / "p", *options).exit_code == 0
    assert command("bundle", tmp_path / "p", "--out", tmp_path / "parts").exit_code == 0
    assert command("pack", tmp_path / "parts", "--out", tmp_path / "there").exit_code == 0
    there = Pack(tmp_path / "there")
    assert there.left_out == ("images/03.png", "images/07.png")
    assert {e.name for e in there.entries()}.isdisjoint(there.left_out)
    assert len(there) == 18
    out = tmp_path / "run"
    trained = command("train", tmp_path / "there", "--out", out, "--steps", 1, *SMALL)
    assert trained.exit_code == 0, trained.output
    assert json.loads((out / "run.json").read_text())["left_out"] == list(there.left_out)
    listed.write_text("images/99.png\n")
    result = command("pack", labelled_folder, "--out", tmp_path / "q", "--leave-out", listed)
    assert "there is no images/99.png" in result.output


def test_check_counts_images_without_labels(labelled_folder: Path) -> None:
    (labelled_folder / "labels.txt").unlink()
    assert "0 labelled and 20 unlabelled" in command("check", labelled_folder).output


def test_train_then_resume_from_elsewhere(
    labelled_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    result = command("train", "faces", "--out", "run", "--steps", 4, "--until", 2, *SMALL)
    assert result.exit_code == 0, result.output
    assert checkpointing.load(out / "last.pt")["training"]["step"] == 2
    again = command("train", labelled_folder, "--out", out, "--steps", 4, *SMALL)
    assert again.exit_code == 3
    assert "continue it with faceblur-train resume" in again.output
    monkeypatch.chdir(out)
    result = command("resume", ".")
    assert result.exit_code == 0, result.output
    assert checkpointing.load(out / "last.pt")["training"]["step"] == 4
    assert {"best.pt", "metrics.csv", "metrics.png", "run.json"} <= {p.name for p in out.iterdir()}
    longer = command("resume", out, "--steps", 5, "--set", "gains.box=3")
    assert longer.exit_code == 0, longer.output
    assert json.loads((out / "run.json").read_text())["settings"]["gains"]["box"] == 3


def test_the_clock_ends_a_run(labelled_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = command("train", labelled_folder, "--out", out, "--minutes", 0.02, *SMALL)
    assert result.exit_code == 0, result.output
    assert "AP50" in result.output
    done = checkpointing.load(out / "last.pt")["training"]["step"]
    assert done >= 1
    assert f"{done} steps" in command("resume", out).output


def test_nothing_to_learn_from_is_known_before_anything_is_written(
    labelled_folder: Path, tmp_path: Path
) -> None:
    (labelled_folder / "labels.txt").unlink()
    result = command("train", labelled_folder, "--out", tmp_path / "run", *SMALL)
    assert result.exit_code == 3
    assert "holds no labelled face to learn from" in result.output
    assert not (tmp_path / "run").exists()


def test_a_teacher_learns_from_images_nobody_labelled(
    shared: Path, labelled_folder: Path, tmp_path: Path
) -> None:
    teacher = shared / "weights" / "yolov5n-0.5-face.pt"
    (labelled_folder / "labels.txt").unlink()
    packed = command(
        "pack",
        labelled_folder,
        "--out",
        tmp_path / "pack",
        "--teacher",
        teacher,
        "--views",
        "128,192",
    )
    assert packed.exit_code == 0, packed.output
    pack = Pack(tmp_path / "pack")
    assert not pack.entry(0).labelled
    assert sum(len(e.faces) for e in pack.entries()) > 10
    result = command(
        "train",
        tmp_path / "pack",
        "--out",
        tmp_path / "run",
        "--teacher",
        teacher,
        "--steps",
        3,
        *SMALL,
    )
    assert result.exit_code == 0, result.output
    last = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[-1]
    assert float(last.split(",")[11]) > 0  # stages were compared


def test_a_killed_run_goes_on(labelled_folder: Path, tmp_path: Path) -> None:
    """SIGTERM ends after the step at hand with a checkpoint, and the shell's exit code."""
    out = tmp_path / "run"
    arguments = ["train", labelled_folder, "--out", out, "--steps", 5000, *SMALL]
    code = "from faceblur_training.cli.train import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    metrics = out / "metrics.csv"

    def is_training() -> bool:
        assert process.poll() is None, process.communicate()[1].decode()
        # Its first row comes after some steps.
        return metrics.exists() and len(metrics.read_text().splitlines()) > 1

    until(is_training, "the steps have begun", within_s=120)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143, errors.decode()
    done = checkpointing.load(out / "last.pt")["training"]["step"]
    assert command("resume", out, "--until", done + 1).exit_code == 0
    assert checkpointing.load(out / "last.pt")["training"]["step"] == done + 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "nowhere", "--out", "run"], "nowhere is not a folder"),
        (["check", "nowhere"], "nowhere is not a folder"),
        (["resume", "nowhere"], "holds no training run"),
        (["pack", "nowhere", "--out", "p"], "nowhere is not a folder"),
        (["pack", "nowhere", "--out", "p", "--views", "big"], "expected sizes like"),
        (["pack", "nowhere", "--out", "p", "--views", "0"], "of 64 to 8192 pixels"),
        (["train", "nowhere", "--out", "run", "--set", "sides=[100]"], "multiples of 32"),
        (["train", "nowhere", "--out", "run", "--set", "speed=9"], "there is no setting speed"),
        (["train", "nowhere", "--out", "run", "--set", "batch=many"], "expected something like"),
        (["train", "nowhere", "--out", "run", "--set", "batch"], "has no value"),
        (["train", "nowhere", "--out", "r", "--steps", "9", "--minutes", "1"], "not both"),
    ],
)
def test_bad_input_gives_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command(*arguments)
    assert result.exit_code == 3
    assert sentence in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
