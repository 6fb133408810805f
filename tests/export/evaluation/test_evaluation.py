"""AP50, and precision and recall by face height."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matched_faces import TWO_IMAGES, detections, face, findings

from faceblur.boxes import box_iou
from faceblur.detection.letterbox import Letterbox
from faceblur_export.evaluation.evaluation import ap50, evaluate, precision_recall
from faceblur_export.evaluation.matching import MatchedFaces, join_findings, match_image
from faceblur_export.evaluation.metrics import (
    UNMATCHED,
    average_precision,
    match_greedily,
)
from faceblur_export.evaluation.report import bin_name, worst_misses


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


def test_worst_misses_are_the_tallest():
    found = findings(
        ([(face(0, 50), 0.1)], [face(0, 50), face(100, 20), face(200, 90)]),
        ([(face(0, 300), 0.9)], [face(0, 300)]),
    )
    heights = found.face_height[worst_misses(found, threshold=0.2, count=2)]
    assert heights.tolist() == [90, 50]
