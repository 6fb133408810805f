"""How sure measures are, how two models are compared, and when one is good enough."""

from __future__ import annotations

import pytest
from matched_faces import face, findings, many

from faceblur.errors import InputError
from faceblur_export.evaluation import acceptance as bar
from faceblur_export.evaluation.evaluation import compare, evaluate
from faceblur_export.evaluation.matching import MatchedFaces


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
