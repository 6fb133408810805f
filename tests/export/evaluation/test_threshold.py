"""The rule that the default threshold follows from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from faceblur.errors import InputError
from faceblur_export.evaluation.matching import MatchedFaces
from faceblur_export.evaluation.metrics import UNMATCHED
from faceblur_export.evaluation.threshold import (
    GRID,
    MISS_COST,
    choose_threshold,
    errors_per_image,
)
from faceblur_training.cli.train import main


def findings(
    *, faces: list[float], extras: list[float], face_px: float = 40, extra_px: float = 40
) -> MatchedFaces:
    """One image per face and per extra, each with the score of its detection (-1: none)."""
    found = np.array([score for score in faces if score >= 0])
    count, hits = len(faces) + len(extras), len(found)
    numbers = np.flatnonzero(np.array(faces) >= 0) if faces else np.zeros(0, np.intp)
    return MatchedFaces(
        images=tuple(Path(str(n)) for n in range(count)),
        det_image=np.concatenate([numbers, np.arange(len(faces), count)]).astype(np.intp),
        det_score=np.concatenate([found, extras]),
        det_height=np.array([face_px] * hits + [extra_px] * len(extras)),
        det_face=np.concatenate([numbers, np.full(len(extras), UNMATCHED)]).astype(np.intp),
        face_image=np.arange(len(faces)),
        face_box=np.tile([0.0, 0, 30, face_px], (len(faces), 1)),
        face_height=np.full(len(faces), face_px),
        face_score=np.array(faces, float),
    )


def test_a_face_is_worth_several_extras():
    worth_it = findings(faces=[0.15] * 40, extras=[0.205] * 40 * 9)
    assert choose_threshold(worth_it).cheapest < 0.15
    too_dear = findings(faces=[0.15] * 40, extras=[0.205] * 40 * 13)
    choice = choose_threshold(too_dear)
    assert (choice.threshold, choice.cheapest) == (0.21, 0.21)


def test_doubt_errs_towards_masking():
    """Eleven extras for a face cost more than it, but on so few images that may be chance."""
    few = findings(faces=[0.15] * 4, extras=[0.205] * 4 * 11)
    choice = choose_threshold(few)
    assert choice.cheapest == 0.21
    assert choice.threshold == GRID[0]
    many = choose_threshold(findings(faces=[0.15] * 400, extras=[0.205] * 400 * 11))
    assert (many.threshold, many.cheapest) == (0.21, 0.21)


def test_equal_costs_would_choose_otherwise():
    """The broken variant: a rule that does not weigh a miss more."""
    found = findings(faces=[0.15, 0.8] * 40, extras=[0.2] * 200)
    assert choose_threshold(found, miss_cost=1.0).threshold >= 0.2
    assert choose_threshold(found).threshold < 0.15


def test_the_lowest_of_equal_costs():
    assert choose_threshold(findings(faces=[0.5], extras=[])).threshold == GRID[0]


def test_small_faces_and_small_extras_do_not_count():
    found = findings(faces=[0.5], extras=[0.3] * 100, extra_px=15.9)
    choice = choose_threshold(found)
    assert (choice.threshold, choice.extras) == (GRID[0], 0)
    with pytest.raises(InputError, match="no labelled face is 16 pixels high"):
        choose_threshold(findings(faces=[0.5], extras=[], face_px=15.9))


def test_reports_what_it_costs():
    choice = choose_threshold(findings(faces=[0.9, 0.9, -1], extras=[0.5, 0.8]))
    assert (choice.faces, choice.missed, choice.extras, choice.pictures) == (3, 1, 1, 5)
    assert choice.cheapest == 0.5


def test_seeded_and_within_its_interval():
    draw = np.random.default_rng(1)
    found = findings(faces=list(draw.beta(4, 2, 200)), extras=list(draw.beta(1, 6, 400)))
    choice = choose_threshold(found)
    assert choice == choose_threshold(found)
    assert choice.threshold <= choice.cheapest
    assert choice.low <= choice.cheapest <= choice.high


scores = st.lists(st.floats(0.021, 0.99), max_size=12)


@given(faces=scores, extras=scores)
def test_no_other_threshold_of_the_grid_is_cheaper(faces, extras):
    found = findings(faces=[*faces, 0.9], extras=extras)
    choice = choose_threshold(found)

    def cost(threshold: float) -> float:
        missed = sum(score <= threshold for score in [*faces, 0.9])
        return MISS_COST * missed + sum(score > threshold for score in extras)

    assert cost(choice.cheapest) == min(map(cost, GRID))
    assert choice.threshold <= choice.cheapest
    assert MISS_COST * choice.missed + choice.extras == cost(choice.threshold)


@given(faces=scores, extras=scores)
def test_dearer_misses_never_raise_the_threshold(faces, extras):
    found = findings(faces=[*faces, 0.9], extras=extras)
    chosen = [choose_threshold(found, miss_cost=cost).cheapest for cost in (1, 5, 10, 50)]
    assert chosen == sorted(chosen, reverse=True)


@given(faces=scores, extras=scores)
def test_errors_move_one_way(faces, extras):
    missed, extra = errors_per_image(findings(faces=[*faces, -1], extras=extras))
    assert (np.diff(missed, axis=1) >= 0).all()
    assert (np.diff(extra, axis=1) <= 0).all()
    assert missed[:, 0].sum() >= 1


def test_json_holds_the_rule(tmp_path, shared):
    out = tmp_path / "threshold.json"
    data = tmp_path / "one"
    data.mkdir()
    source = shared / "data" / "train" / "masks"
    lines = (source / "labels.txt").read_text().splitlines()
    count = int(lines[1])
    text = "\n".join([str(source / lines[0]), *lines[1 : 2 + count]])
    (data / "labels.txt").write_text(text)
    weights = shared / "weights" / "yolov5n-0.5-face.pt"
    result = CliRunner().invoke(
        main, ["threshold", "--data", str(data), "--model", str(weights), "--json", str(out)]
    )
    assert result.exit_code == 0, result.output
    content = json.loads(out.read_text())
    assert content["miss_cost"] == MISS_COST
    assert f"threshold {content['threshold']:.2f}" in result.stdout
