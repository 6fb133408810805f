"""What `evaluate` and `compare` print and write, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from faceblur_export.onnx import export_onnx
from faceblur_training.cli.train import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def few_photos(shared: Path, tmp_path: Path) -> Path:
    """The first six labelled photos of the evaluation set."""
    source = shared / "data" / "eval" / "masks"
    lines = (source / "labels.txt").read_text().splitlines()
    taken: list[str] = []
    for _ in range(6):
        count = int(lines[1])
        taken += [str(source / lines[0]), *lines[1 : 2 + count]]
        lines = lines[2 + count :]
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "labels.txt").write_text("\n".join(taken) + "\n")
    return folder


@pytest.fixture(scope="module")
def checkpoint(shared: Path) -> Path:
    return shared / "weights" / "yolov5n-0.5-face.pt"


@pytest.fixture(scope="module")
def official(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("official") / "official.onnx"
    export_onnx(checkpoint, path)
    return path


class TestCommands:
    def test_a_checkpoint_and_its_export_are_the_same_model(
        self, few_photos, checkpoint, official, tmp_path
    ):
        out = tmp_path / "out.json"
        result = run("evaluate", "--data", few_photos, "--model", checkpoint,
                     "--compare", official, "--json", out)  # fmt: skip
        assert result.exit_code == 0, result.output
        content = json.loads(out.read_text())
        assert content["ap50"] > 0.6
        assert content["images"] == 6
        assert content["compare"]["recall_identifiable_difference"] == 0
        assert content["compare"]["ap50_difference"] == pytest.approx(0, abs=1e-3)
        assert sum(row["faces"] for row in content["by_height"]) <= content["faces"]
        assert str(tmp_path) not in content["data"]
        for kind in ("curve", "misses"):
            image = cv2.imread(str(tmp_path / f"out-{kind}.png"))
            assert image.std() > 1

    def test_compare_prints_verdicts_and_exits_with_them(self, few_photos, official):
        same = run("compare", official, official, "--data", few_photos, 1.0)
        assert (same.exit_code, same.output.count("met   ")) == (0, 3), same.output
        more = run("compare", official, official, "--data", few_photos, 1.01)
        assert (more.exit_code, more.output.count("MISSED")) == (1, 1), more.output

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--data", "nowhere"], "is not a folder"),
            (["--data", "{photos}", "--model", "no.onnx"], "is not a file"),
            (["--data", "{photos}", "--model", "no.pt"], "is not a file"),
            (["--data", "{photos}", "--model", "{photos}/labels.onnx"], "ONNX"),
            (["--data", "{photos}", "--model", "unheard-of"], "not on this machine"),
        ],
    )
    def test_bad_input(self, few_photos, arguments, message):
        (few_photos / "labels.onnx").write_bytes(b"no")
        filled = [argument.format(photos=few_photos) for argument in arguments]
        result = run("evaluate", *filled)
        assert result.exit_code in (3, 5)
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1

    def test_no_labels(self, tmp_path):
        cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
        result = run("evaluate", "--data", tmp_path)
        assert result.exit_code == 3
        assert "holds no labelled face" in result.stderr

    def test_a_result_that_cannot_be_written(self, few_photos, official, tmp_path):
        out = tmp_path / "missing" / "out.json"
        result = run("evaluate", "--data", few_photos, "--model", official, "--json", out)
        assert result.exit_code == 4
        assert "does not exist" in result.stderr
