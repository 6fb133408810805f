"""AP50, precision and recall by face height, and their intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from faceblur.boxes import box_iou
from faceblur.detection.letterbox import Letterbox
from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur_export.evaluation import acceptance as bar
from faceblur_export.evaluation.evaluation import ap50, compare, evaluate, precision_recall
from faceblur_export.evaluation.inference import fit_image, plan_model_input
from faceblur_export.evaluation.matching import MatchedFaces, join_findings, match_image
from faceblur_export.evaluation.metrics import (
    UNMATCHED,
    average_precision,
    match_greedily,
)
from faceblur_export.evaluation.report import bin_name, worst_misses
from faceblur_export.onnx import export_onnx
from faceblur_training.cli.train import main

SQUARE = Letterbox.plan(640, 640)
Box = tuple[float, float, float, float]


def detections(*scored: tuple[Box, float]) -> Detections:
    rows = np.zeros((len(scored), 15), np.float32)
    for row, (box, score) in zip(rows, scored, strict=True):
        row[:5] = *box, score
    return Detections.from_rows(rows)


def findings(*images: tuple[list[tuple[Box, float]], list[Box]]) -> MatchedFaces:
    """What was found in images of 640 × 640, each with detections and faces."""
    parts = [
        match_image(detections(*found), np.reshape(faces, (-1, 4)), SQUARE)
        for found, faces in images
    ]
    return join_findings([Path(f"{n}.png") for n in range(len(parts))], parts)


def face(x: float, height: float, y: float = 0) -> Box:
    return (x, y, x + 30, y + height)


TWO_IMAGES = (
    ([(face(0, 20), 0.9), (face(100, 40), 0.7), (face(300, 12), 0.3)], [face(0, 20)]),
    ([(face(0, 100), 0.5)], [face(0, 100), face(200, 10)]),
)
"""Scores .9 hit, .7 extra, .5 hit, .3 extra; of three faces the smallest is missed."""


class TestAveragePrecision:
    def test_by_hand(self):
        # hit, extra, hit of three faces: 1/3 · 1 + 1/3 · 2/3
        assert ap50(findings(*TWO_IMAGES))[0] == pytest.approx(5 / 9)

    def test_the_envelope_fills_dips(self):
        assert average_precision([0.5, 0.4, 0.6], [0.2, 0.2, 0.6]) == pytest.approx(0.6 * 0.6)

    def test_no_detections_is_zero(self):
        assert ap50(findings(([], [face(0, 20)])))[0] == 0

    def test_extras_in_images_without_faces_cost(self):
        alone = ([(face(0, 20), 0.5)], [face(0, 20)])
        empty = ([(face(0, 20), 0.9)], [])
        assert ap50(findings(alone))[0] == 1
        assert ap50(findings(alone, empty))[0] == 0.5

    def test_images_and_detections_may_come_in_any_order(self):
        shuffled = [(found[::-1], faces) for found, faces in TWO_IMAGES[::-1]]
        assert ap50(findings(*shuffled)) == ap50(findings(*TWO_IMAGES))

    def test_an_evaluator_that_does_not_sort_is_caught(self, monkeypatch):
        monkeypatch.setattr("numpy.argsort", lambda values, **_: np.arange(len(values)))
        assert ap50(findings(*TWO_IMAGES))[0] != pytest.approx(5 / 9)

    def test_counting_a_image_twice_equals_having_it_twice(self):
        first, second = TWO_IMAGES
        weighted = ap50(findings(first, second), np.array([[2.0, 1.0]]))
        assert weighted == pytest.approx(ap50(findings(first, first, second)))

    @given(
        scores=hnp.arrays(float, st.integers(1, 12), elements=st.floats(0.02, 1)),
        hits=st.data(),
    )
    def test_between_nothing_and_the_final_recall(self, scores, hits):
        right = hits.draw(hnp.arrays(bool, len(scores)))
        count = len(scores)
        found = MatchedFaces(
            images=(Path("a"),),
            det_image=np.zeros(count, np.intp),
            det_score=scores,
            det_height=np.full(count, 20.0),
            det_face=np.where(right, np.cumsum(right) - 1, UNMATCHED),
            face_image=np.zeros(count, np.intp),
            face_box=np.zeros((count, 4)),
            face_height=np.full(count, 20.0),
            face_score=np.full(count, -1.0),
        )
        precision, recall, falling = precision_recall(found)
        assert 0 <= ap50(found)[0] <= recall[-1] + 1e-12
        assert (np.diff(recall) >= 0).all()
        assert (np.diff(falling) <= 0).all()
        assert ((precision >= 0) & (precision <= 1)).all()


class TestMatching:
    def test_iou_by_hand(self):
        assert box_iou([[0, 0, 10, 10]], [[5, 0, 15, 10]])[0, 0] == pytest.approx(1 / 3)
        # Last pixels inside: 11 × 11 each, 6 × 11 shared.
        assert box_iou([[0, 0, 10, 10]], [[5, 0, 15, 10]], pixel=1)[0, 0] == 66 / 176

    def test_empty_boxes_overlap_nothing(self):
        assert box_iou([[5, 5, 5, 5]], [[5, 5, 5, 5]])[0, 0] == 0

    def test_a_face_is_found_once(self):
        assert match_greedily(np.array([[0.9], [0.8]])).tolist() == [0, UNMATCHED]

    def test_a_later_detection_takes_the_next_best_face(self):
        assert match_greedily(np.array([[0.9, 0.6], [0.8, 0.7]])).tolist() == [0, 1]

    def test_too_little_overlap_is_no_match(self):
        assert match_greedily(np.array([[0.49]])).tolist() == [UNMATCHED]

    @given(
        hnp.arrays(
            float,
            st.tuples(st.integers(0, 8), st.integers(0, 8)),
            elements=st.floats(0, 1),
        )
    )
    def test_one_to_one_and_never_moved_by_lower_scores(self, iou):
        matches = match_greedily(iou)
        taken = matches[matches != UNMATCHED]
        assert len(set(taken)) == len(taken)
        assert all(iou[row, col] >= 0.5 for row, col in enumerate(matches) if col != UNMATCHED)
        for count in range(len(iou)):
            assert (match_greedily(iou[:count]) == matches[:count]).all()
        left = set(range(iou.shape[1])) - set(taken)
        unpaired = np.flatnonzero(matches == UNMATCHED)
        assert all(iou[row, col] < 0.5 for row in unpaired for col in left)


class TestByHeight:
    @pytest.fixture
    def report(self) -> dict[str, Any]:
        return evaluate(findings(*TWO_IMAGES), threshold=0.4)

    def test_bins_by_hand(self, report):
        rows = report["by_height"]
        assert [bin_name(row) for row in rows] == ["8–16", "16–32", "32–64", "64+"]
        assert [row["faces"] for row in rows] == [1, 1, 0, 1]
        assert [row["recall"] for row in rows] == [0, 1, None, 1]
        # The .3 extra is below the threshold, the .7 one is 40 pixels high.
        assert [row["detections"] for row in rows] == [0, 1, 1, 1]
        assert [row["precision"] for row in rows] == [None, 1, 0, 1]

    def test_totals(self, report):
        assert (report["images"], report["faces"], report["threshold"]) == (2, 3, 0.4)
        assert report["precision"] == pytest.approx(2 / 3)
        assert report["recall"] == pytest.approx(2 / 3)
        assert report["faces_identifiable"] == 1

    def test_heights_are_those_the_network_sees(self):
        small = Letterbox.plan(320, 320, size=640)
        part = match_image(detections(), [face(0, 10)], small)
        found = join_findings([Path("a")], [part])
        assert found.face_height.tolist() == [20]
        assert found.source_height.tolist() == [10]

    def test_a_hit_is_in_the_bin_of_its_face(self):
        # 17 pixels found as 15: one right detection of 16–32, not one of 8–16.
        found = findings(([(face(0, 15), 0.9)], [face(0, 17)]))
        rows = evaluate(found, threshold=0.2)["by_height"]
        assert [row["detections"] for row in rows] == [0, 1, 0, 0]
        assert rows[1]["precision"] == 1

    def test_boxes_end_at_the_border(self):
        found = findings(([((-30, 0, 30, 40), 0.9)], [(0, 0, 30, 40)]))
        assert found.det_face.tolist() == [0]

    def test_the_threshold_itself_does_not_count(self):
        found = findings(([(face(0, 20), 0.5)], [face(0, 20)]))
        assert evaluate(found, threshold=0.5)["recall"] == 0
        assert evaluate(found, threshold=0.49)["recall"] == 1

    def test_is_json(self, report):
        json.dumps(report, allow_nan=False)


def many(hit: float, images: int = 60, seed: int = 0) -> MatchedFaces:
    """Images with three large faces of which a share is found."""
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(images):
        faces = [face(100 * n, 60) for n in range(3)]
        made.append(([(box, 0.5) for box in faces if draw.random() < hit], faces))
    return findings(*made)


class TestIntervals:
    def test_seeded(self):
        found = many(0.7)
        assert evaluate(found, threshold=0.2) == evaluate(found, threshold=0.2)
        other = evaluate(found, threshold=0.2, seed=7)
        assert other["recall_low"] != evaluate(found, threshold=0.2)["recall_low"]

    def test_width_is_that_of_the_binomial(self):
        report = evaluate(many(0.7, images=200), threshold=0.2)
        width = report["recall_high"] - report["recall_low"]
        assert width == pytest.approx(2 * 1.96 * (0.7 * 0.3 / 600) ** 0.5, rel=0.25)
        assert report["recall_low"] < report["recall"] < report["recall_high"]

    def test_faces_of_one_image_count_as_one_draw(self):
        """A bootstrap over faces would be three times as sure of itself."""
        faces = [face(65 * n, 60) for n in range(9)]
        images = [([(box, 0.5) for box in faces], faces), ([], faces)] * 25
        report = evaluate(findings(*images), threshold=0.2)
        width = report["recall_high"] - report["recall_low"]
        assert width == pytest.approx(2 * 1.96 * (0.25 / 50) ** 0.5, rel=0.25)


class TestCompare:
    def test_a_model_equals_itself(self):
        found = many(0.7)
        difference = compare(found, found, threshold=0.2)
        assert difference["ap50_ratio"] == 1
        assert {v for k, v in difference.items() if "difference" in k} == {0}

    def test_pairing_beats_two_intervals(self):
        """Both models miss the same hard images; only one loses a face now and then."""
        faces = [face(100 * n, 60) for n in range(3)]
        all_found = [(box, 0.5) for box in faces]
        base = [(all_found, faces), ([], faces)] * 20
        worse = [(all_found[: 2 if n % 4 == 0 else 3] if a else [], b)
                 for n, (a, b) in enumerate(base)]  # fmt: skip
        difference = compare(findings(*worse), findings(*base), threshold=0.2)
        assert difference["recall_identifiable_difference_high"] < 0
        recall = evaluate(findings(*worse), threshold=0.2)
        assert recall["recall_identifiable_high"] > 0.5

    def test_other_images_are_refused(self):
        with pytest.raises(InputError, match="same images and labels"):
            compare(many(0.7), many(0.7, images=20), threshold=0.2)


class TestBar:
    def judged(self, candidate: MatchedFaces, other: MatchedFaces, ratio: float) -> list[bool]:
        difference = compare(candidate, other, threshold=0.2)
        return [verdict.met for verdict in bar.judge("set", difference, ap50_ratio=ratio)]

    def test_equal_models_meet_it(self):
        assert self.judged(many(0.7), many(0.7), 1.0) == [True, True, True]

    def test_a_worse_model_misses_both_parts(self):
        assert self.judged(many(0.3), many(0.9), 0.9)[:2] == [False, False]

    def test_precision_is_compared_at_equal_recall(self):
        faces = [face(100 * n, 60) for n in range(3)]
        nothing = face(900, 60)
        sure = findings(([*((box, 0.9) for box in faces), (nothing, 0.3)], faces))
        unsure = findings(([*((box, 0.4) for box in faces), (nothing, 0.5)], faces))
        short = findings(([*((box, 0.9) for box in faces[:2])], faces))
        assert self.judged(sure, unsure, 0.5)[2]
        assert not self.judged(unsure, sure, 0.5)[2]
        # That of a model which finds fewer is no better for it.
        assert self.judged(unsure, short, 0.5)[2]
        verdict = bar.judge("set", compare(unsure, sure, threshold=0.2), ap50_ratio=0.5)[2]
        assert verdict.measured == "0.750 at a recall of 1.000, the other's is 1.000"

    def test_a_share_may_be_enough(self):
        assert self.judged(many(0.66), many(0.7), 0.5)[0]

    def test_recall_within_the_interval_is_not_lower(self):
        slightly = many(0.69, seed=3), many(0.7, seed=4)
        assert self.judged(*slightly, ratio=1.0)[1]

    def test_nothing_to_measure_is_not_met(self):
        tiny = findings(([(face(0, 10), 0.9)], [face(0, 10)]))
        verdicts = bar.judge("set", compare(tiny, tiny, threshold=0.2), ap50_ratio=1.0)
        assert [verdict.met for verdict in verdicts][:2] == [True, False]
        assert "nothing to measure" in str(verdicts[1])


class TestLetterboxStyles:
    def test_the_reference_pads_to_64(self):
        plan = plan_model_input(1024, 768, style="rectangular")
        assert (plan.shape, plan.resized, plan.top) == ((512, 640), (640, 480), 16)
        assert plan_model_input(1024, 768).shape == (480, 640)

    @given(st.integers(1, 4000), st.integers(1, 4000))
    def test_boxes_come_back_where_they_were(self, width, height):
        plan = plan_model_input(width, height, style="rectangular")
        assert max(plan.resized) == 640
        assert min(plan.resized) > 0
        assert all(side % 64 == 0 for side in plan.shape)
        assume(min(plan.resized) > 8)
        whole = (plan.left, plan.top, plan.left + plan.resized[0], plan.top + plan.resized[1])
        back = plan.to_source(detections((whole, 0.5))).boxes[0]
        np.testing.assert_allclose(back, [0, 0, width, height], atol=1e-2)

    def test_a_image_fills_its_window(self):
        image = np.full((300, 1000, 3), 200, np.uint8)
        plan = plan_model_input(1000, 300, style="rectangular")
        canvas = fit_image(image, plan, style="rectangular")
        assert canvas.shape == (*plan.shape, 3)
        assert (canvas[plan.top : plan.top + plan.resized[1]] == 200).all()
        assert (canvas[: plan.top] == 114).all()

    def test_a_size_that_the_reference_cannot_take(self):
        with pytest.raises(InputError, match="not a multiple of 64"):
            plan_model_input(100, 100, size=600, style="rectangular")


def test_worst_misses_are_the_tallest():
    found = findings(
        ([(face(0, 50), 0.1)], [face(0, 50), face(100, 20), face(200, 90)]),
        ([(face(0, 300), 0.9)], [face(0, 300)]),
    )
    heights = found.face_height[worst_misses(found, threshold=0.2, count=2)]
    assert heights.tolist() == [90, 50]


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
