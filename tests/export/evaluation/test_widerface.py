"""The official WIDER FACE protocol: the golden figures, a case by hand, and bad input."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from faceblur.detection import canary
from faceblur.errors import InputError
from faceblur_export.evaluation import widerface
from faceblur_export.evaluation.widerface import (
    DIFFICULTIES,
    GroundTruth,
    evaluate_widerface,
    load_ground_truth,
    load_predictions,
)
from faceblur_training.cli.train import main

Image = dict[str, Any]


def cells(values: list[Any]) -> np.ndarray:
    """A column of MATLAB cells."""
    column = np.empty((len(values), 1), object)
    column[:, 0] = values
    return column


def write_ground_truth(folder: Path, faces: dict[str, list[list[float]]], counted: Any) -> Path:
    """The four files of one event, `0--Parade`."""
    common = {
        "event_list": cells(["0--Parade"]),
        "file_list": cells([cells(list(faces))]),
    }
    boxes = [np.array(rows, np.float64).reshape(-1, 4) for rows in faces.values()]
    savemat(folder / "wider_face_val.mat", {**common, "face_bbx_list": cells([cells(boxes)])})
    for difficulty in DIFFICULTIES:
        lists = [np.array(counted[difficulty][stem], np.float64)[:, None] for stem in faces]
        content = {**common, "gt_list": cells([cells(lists)])}
        savemat(folder / f"wider_{difficulty}_val.mat", content)
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two images, three faces: the third is on no list but the hard one's."""
    faces = {"a": [[0, 0, 9, 9], [50, 50, 19, 19]], "b": [[10, 10, 29, 29]]}
    lists = {"a": [1], "b": [1]}
    return write_ground_truth(
        tmp_path,
        faces,
        {"easy": lists, "medium": lists, "hard": {"a": [1, 2], "b": [1]}},
    )


SMALL_PREDICTIONS = {
    "0--Parade/a": np.array([[0, 0, 9, 9, 0.9], [50, 50, 19, 19, 0.8], [80, 0, 9, 9, 0.6]], float),
    "0--Parade/b": np.array([[10, 10, 29, 29, 0.4], [10, 10, 29, 29, 0.1]], float),
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["widerface", *map(str, arguments)])


@pytest.fixture(scope="module")
def golden_truth(shared: Path) -> GroundTruth:
    return load_ground_truth(shared / "widerface_val")


@pytest.fixture(scope="module")
def golden_predictions(shared: Path) -> dict[str, Any]:
    return load_predictions(shared / "golden" / "widerface_predictions.npz")


@pytest.fixture(scope="module")
def expected(shared: Path) -> dict[str, float]:
    content = json.loads((shared / "golden" / "widerface_expected.json").read_text())
    return {difficulty: content[difficulty] for difficulty in DIFFICULTIES}


class TestGolden:
    def test_figures_of_the_reference_in_seconds(self, shared, expected, tmp_path):
        started = time.process_time()
        result = run(
            "--predictions", shared / "golden" / "widerface_predictions.npz",
            "--ground-truth", shared / "widerface_val",
            "--json", tmp_path / "ap.json",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert json.loads((tmp_path / "ap.json").read_text()) == pytest.approx(expected, abs=1e-4)
        assert time.process_time() - started < 15, "of the CPU"

    def test_the_order_of_rows_and_images_does_not_matter(
        self, golden_truth, golden_predictions, expected
    ):
        shuffled = {
            name: golden_predictions[name][::-1] for name in reversed(list(golden_predictions))
        }
        assert evaluate_widerface(shuffled, golden_truth) == pytest.approx(expected, abs=1e-4)

    def test_an_evaluator_without_ignored_faces_is_caught(
        self, golden_truth, golden_predictions, expected
    ):
        everything = {name: np.ones(len(rows), bool) for name, rows in golden_truth.boxes.items()}
        broken = GroundTruth(golden_truth.boxes, dict.fromkeys(DIFFICULTIES, everything))
        result = evaluate_widerface(golden_predictions, broken)
        assert abs(result["easy"] - expected["easy"]) > 1e-3

    def test_an_evaluator_that_does_not_sort_is_caught(
        self, golden_truth, golden_predictions, expected, monkeypatch
    ):
        reversed_rows = {name: rows[::-1] for name, rows in golden_predictions.items()}
        monkeypatch.setattr(widerface, "_by_falling_score", lambda rows: rows)
        result = evaluate_widerface(reversed_rows, golden_truth)
        assert all(abs(result[d] - expected[d]) > 1e-4 for d in DIFFICULTIES)

    def test_an_evaluator_without_the_last_pixel_is_caught(
        self, golden_truth, golden_predictions, expected, monkeypatch
    ):
        overlap = widerface.box_iou
        monkeypatch.setattr(widerface, "box_iou", lambda a, b, *, pixel: overlap(a, b))
        result = evaluate_widerface(golden_predictions, golden_truth)
        assert all(abs(result[d] - expected[d]) > 1e-3 for d in DIFFICULTIES)


class TestByHand:
    def test_two_images(self, small):
        result = evaluate_widerface(SMALL_PREDICTIONS, load_ground_truth(small))
        # Easy: .9 hits, .8 is ignored, .6 is wrong, .4 hits as 2 of 3, .1 repeats.
        assert result["easy"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
        # Hard: .9 and .8 hit, .6 is wrong, .4 hits as 3 of 4.
        assert result["hard"] == pytest.approx(2 / 3 * 1 + 1 / 3 * 3 / 4)

    def test_nothing_found_is_zero(self, small):
        nothing = {name: np.zeros((0, 5)) for name in SMALL_PREDICTIONS}
        result = evaluate_widerface(nothing, load_ground_truth(small))
        assert result == dict.fromkeys(DIFFICULTIES, 0.0)

    def test_a_image_left_out_is_refused(self, small):
        some = {"0--Parade/a": SMALL_PREDICTIONS["0--Parade/a"]}
        with pytest.raises(InputError, match="lack 1 of 2 images, such as 0--Parade/b"):
            evaluate_widerface(some, load_ground_truth(small))

    @given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
    def test_scores_may_be_on_any_scale(self, scale, shift):
        boxes = {"e/a": np.array([[0.0, 0, 9, 9], [50, 50, 9, 9]])}
        truth = GroundTruth(boxes, {key: {"e/a": np.array([True, True])} for key in DIFFICULTIES})
        scores = np.array([0.9, 0.5, 0.1])
        rows = np.array([[0.0, 0, 9, 9], [20, 20, 9, 9], [50, 50, 9, 9]])
        result = evaluate_widerface({"e/a": np.column_stack([rows, scores * scale + shift])}, truth)
        assert result["easy"] == pytest.approx(0.5 + 0.5 * 2 / 3)


class TestSubmissionFolder:
    def test_gives_the_same_as_the_arrays(self, small, tmp_path):
        folder = tmp_path / "submission" / "0--Parade"
        folder.mkdir(parents=True)
        for name, rows in SMALL_PREDICTIONS.items():
            stem = name.split("/")[1]
            lines = [" ".join(f"{value:g}" for value in row) for row in rows]
            (folder / f"{stem}.txt").write_text("\n".join([stem, str(len(rows)), *lines]) + "\n")
        loaded = load_predictions(folder.parent)
        truth = load_ground_truth(small)
        assert evaluate_widerface(loaded, truth) == evaluate_widerface(SMALL_PREDICTIONS, truth)

    @pytest.mark.parametrize(
        "text",
        ["", "a\n", "a\nmany\n", "a\n2\n1 1 5 5 .5\n", "a\n1\n1 1 5 5\n", "a\n1\n1 1 x 5 .5\n"],
    )
    def test_a_broken_file_is_named(self, tmp_path, text):
        (tmp_path / "0--Parade").mkdir()
        (tmp_path / "0--Parade" / "a.txt").write_text(text)
        with pytest.raises(InputError, match=r"a\.txt must hold"):
            load_predictions(tmp_path)

    def test_an_empty_folder_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="holds no files event"):
            load_predictions(tmp_path)


class TestModel:
    @pytest.mark.parametrize("style", ["canonical", "rectangular"])
    def test_finds_the_faces_of_images(self, shared, tmp_path, style):
        """A portrait, once as it is and once at the side of a wider image."""
        portrait = cv2.imread(str(canary.CHECK_IMAGE))
        x1, y1, x2, y2 = (float(value) for value in canary.FACE)
        wide = np.full((128, 300, 3), 114, np.uint8)
        wide[:, 150:278] = portrait
        folder = tmp_path / "images" / "0--Parade"
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "a.jpg"), portrait)
        cv2.imwrite(str(folder / "b.jpg"), wide)
        sides = [x2 - x1, y2 - y1]
        write_ground_truth(
            tmp_path,
            {"a": [[x1, y1, *sides]], "b": [[x1 + 150, y1, *sides]]},
            {key: {"a": [1], "b": [1]} for key in DIFFICULTIES},
        )
        weights = shared / "weights" / "yolov5n-0.5-face.pt"
        out = tmp_path / "ap.json"
        result = run("--model", weights, "--images", tmp_path / "images", "--json", out,
                     "--ground-truth", tmp_path, "--letterbox", style)  # fmt: skip
        assert result.exit_code == 0, result.output
        assert json.loads(out.read_text()) == {"easy": 1, "medium": 1, "hard": 1}


class TestBadInput:
    def check(self, result: Result, message: str) -> None:
        assert result.exit_code == 3, result.output
        assert message in result.stderr
        assert "Traceback" not in result.output

    def test_neither_predictions_nor_model(self, small):
        self.check(run("--ground-truth", small), "give either --predictions, or both")

    def test_a_model_without_images(self, small):
        self.check(run("--ground-truth", small, "--model", "bundled"), "both --model and --images")

    def test_ground_truth_missing(self, tmp_path):
        npz = tmp_path / "p.npz"
        self.check(run("--predictions", npz, "--ground-truth", tmp_path), "wider_face_val.mat is")

    def test_ground_truth_of_something_else(self, small):
        (small / "wider_hard_val.mat").write_bytes(b"MATLAB 5.0 MAT-file, or so it says" * 20)
        self.check(run("--predictions", small, "--ground-truth", small), "is not a ground-truth")

    def test_a_list_of_other_images(self, small, tmp_path):
        other = tmp_path / "other"
        other.mkdir()
        write_ground_truth(other, {"z": [[0, 0, 9, 9]]}, {key: {"z": [1]} for key in DIFFICULTIES})
        (small / "wider_easy_val.mat").write_bytes((other / "wider_easy_val.mat").read_bytes())
        self.check(run("--predictions", small, "--ground-truth", small), "lists faces that")

    def test_predictions_missing(self, small):
        self.check(run("--predictions", small / "no.npz", "--ground-truth", small), "not exist")

    @pytest.mark.parametrize(
        "arrays",
        [
            {"names": ["a"], "counts": [1]},
            {"names": ["a"], "counts": [2], "boxes_xywh_score": np.zeros((1, 5))},
            {"names": ["a"], "counts": [1], "boxes_xywh_score": np.zeros((1, 4))},
            {"names": ["a", "b"], "counts": [1], "boxes_xywh_score": np.zeros((1, 5))},
        ],
    )
    def test_arrays_that_do_not_fit(self, small, arrays):
        np.savez(small / "p.npz", **arrays)
        self.check(run("--predictions", small / "p.npz", "--ground-truth", small), "must hold")

    def test_not_an_archive(self, small):
        (small / "p.npz").write_bytes(b"no")
        self.check(run("--predictions", small / "p.npz", "--ground-truth", small), "must hold")

    def test_values_that_are_not_finite(self, small):
        rows = np.full((1, 5), np.nan)
        np.savez(small / "p.npz", names=["0--Parade/a"], counts=[1], boxes_xywh_score=rows)
        self.check(run("--predictions", small / "p.npz", "--ground-truth", small), "not finite")

    def test_images_missing(self, small):
        result = run("--model", "bundled", "--images", small, "--ground-truth", small)
        self.check(result, "lacks 2 of 2 images, such as 0--Parade/a.jpg")
