"""Damage is the same every time, and a model is not robust by masking more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from faceblur_export.evaluation.damage import DAMAGES, _threshold
from faceblur_export.evaluation.matching import ImageFindings, join_findings
from faceblur_training.cli.train import main


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_repeatable_and_damages(name: str) -> None:
    image = np.random.default_rng(5).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    first, again = (DAMAGES[name](image.copy(), 7) for _ in range(2))
    assert first.dtype == np.uint8
    assert first.shape == image.shape
    assert np.array_equal(first, again)
    assert np.array_equal(first, image) == (name == "undamaged")
    assert "noise" not in name or not np.array_equal(first, DAMAGES[name](image, 8))


def test_the_threshold_allows_so_many_false_alarms() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    heights = np.array([20.0, 20.0, 10.0, 20.0, 20.0])
    part = ImageFindings(
        scores, heights, np.array([0, -1, -1, -1, -1]), np.zeros((1, 4)), np.ones(1), np.ones(1)
    )
    findings = join_findings([Path("a.jpg")], [part])
    # 0.8 and 0.6 are false and tall enough, 0.7 is too small to count.
    assert _threshold(findings, 2) == 0.5
    assert _threshold(findings, 1) == 0.6
    assert _threshold(findings, 9) == pytest.approx(0.02)


def test_the_command_names_the_models(shared: Path, tmp_path: Path) -> None:
    lines = (shared / "data" / "eval" / "masks" / "labels.txt").read_text().splitlines()
    name, count = lines[0], int(lines[1])
    data = tmp_path / "data"
    data.mkdir()
    path = str(shared / "data" / "eval" / "masks" / name)
    (data / "labels.txt").write_text("\n".join([path, *lines[1 : 2 + count]]) + "\n")
    result = CliRunner().invoke(main, ["damage", "fast", "a=fast", "--data", str(data)])
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == len(DAMAGES)
    assert all("fast " in line and ", a " in line for line in result.stdout.splitlines())
