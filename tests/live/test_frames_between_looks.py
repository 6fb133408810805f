"""Which frames between looks are shown: those that follow a look which was answered."""

from __future__ import annotations

import pytest
from scheduler_bench import Bench, errors, numbers


def test_frames_between_looks_follow_the_look_before_them(bench: Bench) -> None:
    bench.arrive()
    assert bench.arrive(model_input=False) == []
    verdicts = bench.answer(0)
    assert [verdict.faces is None for verdict in verdicts] == [False, True]
    assert errors(bench.arrive(model_input=False)) == [""]


def test_frames_between_detections_are_refused_after_one_that_failed(bench: Bench) -> None:
    bench.arrive()
    bench.arrive(model_input=False)
    assert errors(bench.fail(0)) == ["nonsense", "nonsense"]


def test_frames_between_looks_wait_for_a_look_of_their_own_after_a_recovery(bench: Bench) -> None:
    bench.arrive()
    bench.fail(0)
    bench.arrive()
    bench.answer(1)
    assert bench.arrive(model_input=False) == []
    assert bench.checker.dropped == 1, "nobody knows where faces are now"
    bench.arrive()
    assert errors(bench.answer(2)) == [""]
    assert errors(bench.arrive(model_input=False)) == [""]


@pytest.mark.parametrize("look_too", [False, True])
def test_a_frame_between_looks_that_comes_with_the_recovery_waits_too(
    bench: Bench, look_too: bool
) -> None:
    bench.arrive()
    bench.fail(0)
    bench.arrive()
    bench.answer_unseen(1)
    bench.admit(model_input=False)
    if look_too:
        bench.admit()
    assert bench.collect() == [], "the pass before it was refused, and what it found is lost"
    assert bench.checker.dropped == 1
    if look_too:
        bench.until_asked(3)
        bench.admit(model_input=False)
        assert numbers(bench.answer(2)) == [3, 4]


def test_frames_between_looks_follow_the_newest_look(bench: Bench) -> None:
    for model_input in (True, True, True, True):
        bench.arrive(model_input=model_input)
    assert bench.checker.dropped == 1
    bench.answer(0)
    bench.until_asked(3)
    bench.arrive(model_input=False)
    assert numbers(bench.answer(1) + bench.answer(2)) == [1, 3, 4]


def test_frames_between_looks_go_with_the_look_that_was_dropped(bench: Bench) -> None:
    for model_input in (True, True, True, False, True, False):
        bench.arrive(model_input=model_input)
    assert bench.checker.dropped == 3
    assert numbers(bench.answer(0) + bench.answer(1) + bench.answer(2)) == [0, 1, 4]
