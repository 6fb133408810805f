"""Which frames are shown: a detector that fails in every way a detector can."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from scheduler_bench import (
    DEADLINE_S,
    NOBODY,
    PATIENCE_S,
    Bench,
    close_ups,
    errors,
    numbers,
)

from faceblur.detection import crowds
from faceblur.detection.parts import PartDetections
from faceblur.detection.tiling import part_views
from faceblur.detections import Detections
from faceblur.errors import CrowdedError, DeadlineError, ReplyError
from faceblur.live.scheduler import IN_FLIGHT
from faceblur.live.submission import MAX_HUNG, PATIENCE


def test_frames_come_out_in_order_whatever_the_order_of_answers(bench: Bench) -> None:
    bench.arrive()
    bench.arrive()
    assert bench.answer(1) == []
    assert numbers(bench.answer(0)) == [0, 1]


def test_the_newest_frame_wins_and_the_others_are_counted(bench: Bench) -> None:
    for _ in range(10):
        assert bench.arrive() == []
    bench.until_asked(IN_FLIGHT)
    assert bench.checker.dropped == 10 - IN_FLIGHT - 1
    assert bench.released == [2, 3, 4, 5, 6, 7, 8]
    assert numbers(bench.answer(0)) == [0]
    assert numbers(bench.answer(1)) == [1]
    assert numbers(bench.answer(2)) == [9]


def test_a_frame_without_an_answer_is_refused_at_its_deadline(bench: Bench) -> None:
    bench.arrive()
    assert bench.collect(after_s=DEADLINE_S - 0.01) == []
    (verdict,) = bench.collect(after_s=0.02)
    assert isinstance(verdict.error, DeadlineError)


def test_a_frame_of_which_a_part_went_unanswered_is_refused(bench: Bench) -> None:
    bench.arrive(parts=2)
    assert bench.collect() == []
    bench.until_asked(3)
    for index in (0, 2):
        bench.detector.asked[index].set_result(NOBODY)
        assert bench.collect() == [], "a part is still out"
    (verdict,) = bench.collect(after_s=DEADLINE_S + 0.01)
    assert isinstance(verdict.error, DeadlineError)
    assert not bench.frames[0].is_checked, "its parts have their turn again"


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_part_that_fails_refuses_its_frame(bench: Bench, failing: int) -> None:
    bench.arrive(parts=2)
    (verdict,) = bench.fail(failing)
    assert isinstance(verdict.error, ReplyError)
    for index in {0, 1, 2} - {failing}:
        bench.detector.asked[index].set_result(NOBODY)
    assert not bench.frames[0].is_checked


def test_the_faces_of_a_part_are_among_those_of_the_frame(bench: Bench) -> None:
    bench.arrive(parts=2)
    bench.until_asked(3)
    box = np.array([[8, 8, 16, 16, 0.9, *[0] * 10]], np.float32)
    for index, found in ((1, NOBODY), (2, Detections.from_rows(box)), (0, NOBODY)):
        bench.woken.clear()
        bench.detector.asked[index].set_result(found)
    assert bench.woken.wait(PATIENCE_S)
    (verdict,) = bench.collect()
    faces, plan = verdict.faces, close_ups(2).plan
    assert isinstance(faces, PartDetections)
    assert faces.close.tolist() == [True]
    view = plan.parts[1].view
    assert faces.boxes[0, 0] == pytest.approx(view.x + 8 * view.width / 64, abs=0.5)
    assert len(faces.searched) == 2
    assert bench.frames[0].is_checked


def test_an_answer_after_the_deadline_is_none(bench: Bench) -> None:
    bench.arrive()
    bench.until_asked(1)
    bench.now_s += DEADLINE_S + 0.01
    (verdict,) = bench.answer(0)
    assert isinstance(verdict.error, DeadlineError)


def test_while_the_detector_fails_every_frame_is_refused_at_once(bench: Bench) -> None:
    bench.arrive()
    assert errors(bench.fail(0)) == ["nonsense"]
    for _ in range(20):
        assert errors(bench.arrive()) == ["nonsense"]
    bench.until_asked(1 + IN_FLIGHT)


def test_frames_are_shown_again_once_one_was_answered_in_time(bench: Bench) -> None:
    bench.arrive()
    bench.fail(0)
    assert errors(bench.arrive()) == ["nonsense"]
    assert bench.answer(1) == [], "the frame that showed it was refused already"
    assert bench.arrive() == []
    (verdict,) = bench.answer(2)
    assert verdict.error is None


def test_an_answer_that_comes_late_does_not_end_the_failure(bench: Bench) -> None:
    bench.arrive()
    bench.fail(0)
    bench.arrive()
    bench.until_asked(2)
    bench.now_s += DEADLINE_S + 0.01
    bench.answer(1)
    assert errors(bench.arrive()) == ["nonsense"]


def test_what_was_asked_before_a_failure_is_not_waited_for(bench: Bench) -> None:
    bench.arrive()
    bench.arrive()
    assert errors(bench.fail(0)) == ["nonsense", "nonsense"]


def test_a_detector_that_hangs_in_the_call_itself_is_left_behind(bench: Bench) -> None:
    bench.detector.hangs = hangs = threading.Event()
    bench.arrive()
    bench.arrive()
    assert bench.detector.entered.wait(PATIENCE_S)
    assert len(bench.collect(after_s=DEADLINE_S + 0.01)) == 2
    assert len(bench.arrive()) == 1
    bench.detector.hangs = None
    bench.collect(after_s=PATIENCE * DEADLINE_S)
    bench.arrive()
    bench.answer(0)
    assert bench.arrive() == [], "it is asked again"
    hangs.set()


def _asking() -> set[threading.Thread]:
    """The threads that ask a detector; other tests of the process leave others."""
    return {thread for thread in threading.enumerate() if thread.name == "faceblur-submit"}


def test_a_detector_that_hangs_for_ever_holds_few_threads(bench: Bench) -> None:
    bench.detector.hangs = hangs = threading.Event()
    before = _asking()
    for _ in range(3 * MAX_HUNG):
        bench.arrive()
        bench.arrive()
        bench.collect(after_s=PATIENCE * DEADLINE_S + 0.01)
    assert 0 < len(_asking() - before) <= MAX_HUNG
    bench.detector.hangs = None
    hangs.set()
    # Each thread asks what it was left with, and ends.
    for thread in bench.checker._submitter._hung:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    asked = len(bench.detector.asked)
    bench.collect()
    bench.arrive()
    bench.answer(asked)
    assert bench.arrive() == [], "it is asked again"


def test_a_detector_that_loses_frames_is_asked_again(bench: Bench) -> None:
    bench.arrive()
    bench.arrive()
    bench.until_asked(IN_FLIGHT)
    bench.collect(after_s=PATIENCE * DEADLINE_S + 0.01)
    bench.arrive()
    bench.until_asked(IN_FLIGHT + 1)


@pytest.mark.parametrize("lost", [None, 4])
def test_a_crowd_is_shown_only_when_every_part_was_answered(
    monkeypatch: pytest.MonkeyPatch, lost: int | None
) -> None:
    monkeypatch.setattr(crowds, "PART_SIZE", 32)
    parts = len(part_views(64, 64, size=32))
    assert parts > 4
    bench = Bench(crowds.CrowdDetector)
    bench.arrive()
    bench.until_asked(1)
    bench.detector.asked[0].set_exception(CrowdedError("more than it can hold"))
    bench.until_asked(1 + parts)
    assert bench.collect() == []
    for number, part in enumerate(bench.detector.asked[1:]):
        if number != lost:
            part.set_result(NOBODY)
    if lost is None:
        assert bench.woken.wait(PATIENCE_S)
        assert errors(bench.collect()) == [""]
    else:
        assert bench.collect() == []
        assert errors(bench.collect(after_s=DEADLINE_S + 0.01)) != [""]
        bench.detector.asked[1 + lost].set_exception(DeadlineError("too late"))
    bench.checker.close()


def test_memory_is_given_back_only_when_the_detector_has_its_copy(bench: Bench) -> None:
    bench.detector.hangs = hangs = threading.Event()
    bench.arrive()
    (verdict,) = bench.collect(after_s=DEADLINE_S + 0.01)
    verdict.frame.release()
    assert bench.released == []
    hangs.set()
    bench.answer(0)
    assert bench.released == [0]
