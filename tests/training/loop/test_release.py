"""A checkpoint becomes a model that comes with the repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from faceblur.detection import repository
from faceblur.detection.models import INPUT, OUTPUTS, open_onnx
from faceblur.files import file_sha256
from faceblur_training.cli.train import main
from faceblur_training.loop import release


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model repository and the weights of a checkout that may be changed."""
    folder = tmp_path / "model_repository"
    shutil.copytree(repository.model_repository(), folder, ignore=shutil.ignore_patterns("*.onnx"))
    monkeypatch.setattr(release, "model_repository", lambda: folder)
    monkeypatch.setattr(release, "weights_of", lambda name: tmp_path / f"{name}.pt")
    return tmp_path


def _objectness(onnx: Path) -> np.ndarray:
    pixels = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    candidates, _ = open_onnx(onnx, threads=1).run(OUTPUTS, {INPUT: pixels})
    found = candidates[0, :, 4]
    return np.sort(found[found > -1e3])


def test_scores_are_shifted_and_only_the_served_model_is_named(checkout: Path) -> None:
    fast = Path(release.__file__).with_name("fast.pt")
    version = checkout / "model_repository" / "yolov5_face" / "1"
    configs = version.parent / "config.pbtxt"
    before = configs.read_text()
    for name, shift in (("bundled", "0"), ("fast", "-0.5")):
        made = CliRunner().invoke(main, ["release", str(fast), "--name", name, "--shift", shift])
        assert made.exit_code == 0, made.output
        assert f"the {name} model is now " in made.output
        if name == "bundled":
            named = configs.read_text()
            assert named != before
    assert configs.read_text() == named
    plain, shifted = (_objectness(version / name) for name in ("model.onnx", "fast.onnx"))
    np.testing.assert_allclose(shifted, plain - 0.5, atol=1e-5)
    record = json.loads((version / "shipped.json").read_text())
    for name, file in (("bundled", "model.onnx"), ("fast", "fast.onnx")):
        assert record[name] == {"sha256": file_sha256(version / file), "stride": 32}
    # It can be trained on from.
    assert (checkout / "fast.pt").stat().st_size > 1_000_000
