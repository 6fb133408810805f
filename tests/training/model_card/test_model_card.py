"""The model card says what the record says, and the record what was measured."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur_export.evaluation import known_failures
from faceblur_export.onnx import export_onnx
from faceblur_training.cli.train import main
from faceblur_training.model_card.card import card_of, check_card, write_card
from faceblur_training.model_card.record import Measurement
from faceblur_training.model_card.text import PUBLISHED, render

ROOT = Path(__file__).resolve().parents[3]
BUNDLED = ROOT / "model_repository" / "yolov5_face" / "1" / "model.onnx"
CARD = card_of("bundled")
Record = dict[str, Any]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def take(source: Path, target: Path, wanted: int) -> None:
    """The first images of a `labels.txt` folder, linked by their path."""
    lines = (source / "labels.txt").read_text().splitlines()
    taken: list[str] = []
    for _ in range(wanted):
        count = int(lines[1])
        taken += [str(source / lines[0]), *lines[1 : 2 + count]]
        lines = lines[2 + count :]
    target.mkdir(parents=True)
    (target / "labels.txt").write_text("\n".join(taken) + "\n")


@pytest.fixture(scope="module")
def model(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "official.onnx"
    export_onnx(shared / "weights" / "yolov5n-0.5-face.pt", path)
    return path


@pytest.fixture(scope="module")
def measured(shared: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A record of the official model, measured on a few photos beside itself."""
    data = tmp_path_factory.mktemp("data")
    take(shared / "data" / "eval" / "masks", data / "eval" / "masks", 4)
    take(shared / "data" / "train" / "masks", data / "train" / "masks", 40)
    record = {
        "about": {
            "variant_reason": "it is small.",
            "recipe": ["from scratch"],
            "commands": ["faceblur-train train"],
            "hardware": "two cores",
            "hours": 1.5,
            "samples": 60_000,
            "ceiling": ["Hair is not a face."],
        },
        "data": [
            {"folder": "train/masks", "use": "training", "what": "photos", "licence": "free"},
            {"folder": "eval/masks", "use": "evaluation", "what": "photos", "licence": "free"},
        ],
        "bar": [{"data": "eval/masks", "ap50_ratio": 1.0}],
        "measured": {},
    }
    measurement = Measurement(
        name="bundled",
        model=model,
        data=data,
        other=str(model),
        other_name="yolov5n-0.5",
        held_out_of=data / "train" / "masks",
    )
    filled = measurement.fill(record)
    # So few images would choose any threshold.
    filled["measured"]["threshold_choice"]["threshold"] = DEFAULT_THRESHOLD
    return filled


@pytest.fixture(scope="module")
def rendered(measured: Record, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rendered")
    (root / "pyproject.toml").touch()
    write_card(measured, root)
    return root


@pytest.fixture
def checkout(rendered: Path, tmp_path: Path) -> Path:
    """A checkout of its own with the card in it."""
    return shutil.copytree(rendered, tmp_path / "checkout")


@pytest.mark.skipif(not BUNDLED.is_file(), reason="no bundled model is committed yet")
class TestCommitted:
    """What the continuous integration asks for: nothing committed is out of date."""

    def test_card_record_model_and_threshold_belong_together(self):
        result = run("model-card", "--check", "--root", ROOT)
        assert result.exit_code == 0, result.output
        assert result.output.count("is up to date") == 2


class TestMeasuring:
    def test_counts_what_is_there(self, measured):
        train, evaluation = measured["data"]
        assert (train["pictures"], train["labelled"]) == (40, 40)
        assert evaluation["pictures"] == 4
        assert evaluation["faces"] == measured["measured"]["figures"][0]["ours"]["faces"]

    def test_names_the_file(self, measured, model):
        facts = measured["measured"]
        assert facts["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
        assert facts["bytes"] == model.stat().st_size
        assert facts["variant"] == "yolov5n-0.5"

    def test_a_model_beside_itself_meets_the_bar(self, measured):
        assert all(v["met"] for v in measured["measured"]["figures"][0]["verdicts"])

    def test_is_json_and_keeps_what_people_wrote(self, measured):
        assert json.loads(json.dumps(measured, allow_nan=False)) == measured
        assert measured["about"]["hours"] == 1.5


class TestCard:
    def test_the_same_record_gives_the_same_card(self, measured):
        assert render(measured) == render(copy.deepcopy(measured))

    def test_says_what_was_measured(self, measured):
        text = render(measured)
        figures = measured["measured"]["figures"][0]["ours"]
        assert f"{figures['ap50']:.3f}" in text
        assert measured["measured"]["sha256"] in text
        assert "1.5 hours" in text

    def test_published_figures_are_marked_as_such(self, measured):
        text = render(measured)
        for name, *values in PUBLISHED:
            assert f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |" in text
        assert "not measured again here" in text

    def test_images_that_it_shows_exist(self, checkout):
        text = (checkout / CARD).read_text(encoding="utf-8")
        linked = [part.split(")")[0] for part in text.split("](")[1:]]
        shown = [name for name in linked if name.endswith(".png")]
        assert len(shown) == 2
        assert all((checkout / CARD.parent / name).is_file() for name in shown)

    def test_what_nobody_wrote_is_asked_for(self, measured):
        silent = {**measured, "about": {**measured["about"], "hardware": "", "hours": 0}}
        with pytest.raises(InputError, match="does not say hardware, hours"):
            render(silent)

    @pytest.mark.parametrize("section", ["about", "measured"])
    def test_a_record_with_holes_is_refused(self, measured, section):
        with pytest.raises(InputError, match="measure-bundled"):
            render({**measured, section: {}})


class TestCheck:
    def test_fresh_is_accepted(self, checkout, measured, model):
        check_card(measured, checkout, model=model)

    def test_an_edited_card_is_caught(self, checkout, measured, model):
        card = checkout / CARD
        card.write_text(card.read_text(encoding="utf-8").replace("0.", "0.9", 1), encoding="utf-8")
        with pytest.raises(InputError, match="is not what the record gives"):
            check_card(measured, checkout, model=model)

    def test_an_edited_record_is_caught(self, checkout, measured, model):
        changed = copy.deepcopy(measured)
        changed["measured"]["figures"][0]["ours"]["ap50"] += 0.01
        with pytest.raises(InputError, match="is not what the record gives"):
            check_card(changed, checkout, model=model)

    def test_another_model_file_is_caught(self, checkout, measured, model, tmp_path):
        other = tmp_path / "other.onnx"
        other.write_bytes(model.read_bytes() + b"\0")
        with pytest.raises(InputError, match="describes another file"):
            check_card(measured, checkout, model=other)

    @pytest.mark.parametrize("place", ["threshold", "threshold_choice"])
    def test_a_threshold_of_its_own_is_caught(self, checkout, measured, model, place):
        changed = copy.deepcopy(measured)
        if place == "threshold":
            changed["measured"]["threshold"] = 0.33
        else:
            changed["measured"]["threshold_choice"]["threshold"] = 0.33
        with pytest.raises(InputError, match=r"DEFAULT_THRESHOLD is .* 0\.33"):
            check_card(changed, checkout, model=model)

    def test_an_old_image_is_caught(self, checkout, measured, model):
        images = checkout / CARD.parent / "images"
        shutil.copy(images / "recall-by-height.png", images / "known-failures.png")
        with pytest.raises(InputError, match=r"known-failures\.png does not show the record"):
            check_card(measured, checkout, model=model)


class TestFailures:
    def test_the_plain_portrait_is_where_the_box_says(self, measured):
        rows = {row["name"]: row for row in measured["measured"]["failures"]}
        assert rows["upright, 52 px"]["score"] > 0.5

    def test_boxes_lie_on_the_canvas(self):
        for rendition in known_failures.renditions():
            x1, y1, x2, y2 = rendition.box
            assert 0 <= x1 < x2 <= rendition.canvas.shape[1]
            assert 0 <= y1 < y2 <= rendition.canvas.shape[0]

    def test_a_detection_elsewhere_is_no_find(self):
        row = np.zeros((1, 15), np.float32)
        row[0, :5] = 0, 0, 40, 50, 0.9
        rows = known_failures.measure(lambda canvas, score: Detections.from_rows(row))
        assert {row["score"] for row in rows} == {None}
        assert known_failures.describe(rows[0], 0.2) == "MISSED (no detection)"

    def test_a_score_at_the_threshold_is_missed(self):
        assert not known_failures.is_found({"score": 0.2}, 0.2)
        assert known_failures.is_found({"score": 0.21}, 0.2)


class TestCommands:
    def test_card_is_written(self, checkout, measured, tmp_path):
        record = tmp_path / "record.json"
        record.write_text(json.dumps(measured))
        result = run("model-card", "--root", checkout, "--record", record)
        assert (result.exit_code, result.output.count("wrote")) == (0, 3), result.output

    def test_outside_a_checkout(self, tmp_path):
        result = run("model-card", "--root", tmp_path)
        assert result.exit_code == 3
        assert "run this in a checkout" in result.stderr

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"about": {}}'])
    def test_a_broken_record(self, checkout, tmp_path, text):
        record = tmp_path / "record.json"
        record.write_text(text)
        result = run("model-card", "--root", checkout, "--record", record)
        assert result.exit_code == 3
        assert len(result.stderr.strip().splitlines()) == 1
