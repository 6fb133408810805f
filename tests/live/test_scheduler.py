"""Which frames are shown: a detector that fails in every way a detector can."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import numpy as np
import numpy.typing as npt
import pytest
from doubles import OneByOne

from faceblur.detection import crowds
from faceblur.detection.detector import Detector, ModelInfo
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.parts import CloseUps, PartDetections, PartPlan
from faceblur.detection.tiling import part_views
from faceblur.detections import Detections
from faceblur.errors import CrowdedError, DeadlineError, ReplyError
from faceblur.live.frame_format import FrameFormat
from faceblur.live.frames import RawFrame
from faceblur.live.scheduler import IN_FLIGHT, CheckedFrame, DetectionScheduler
from faceblur.live.submission import MAX_HUNG, PATIENCE

DEADLINE_S = 1.0
FORMAT = FrameFormat(width=64, height=64)
NOBODY = Detections.empty()


class Scripted(OneByOne):
    """A detector whose answers the test gives."""

    model = ModelInfo("scripted", "")

    def __init__(self) -> None:
        self.asked: list[Future[Detections]] = []
        self.hangs: threading.Event | None = None
        self.entered = threading.Event()

    def submit_one(
        self, model_input: npt.NDArray[np.uint8], *, min_score: float
    ) -> Future[Detections]:
        if self.hangs is not None:
            self.entered.set()
            self.hangs.wait(10)
        future: Future[Detections] = Future()
        self.asked.append(future)
        return future

    def close(self) -> None: ...


class Bench:
    """A checker, its detector and a clock that stands still."""

    def __init__(self, wrap: Callable[[Detector], Detector] = lambda detector: detector) -> None:
        self.detector = Scripted()
        self.woken = threading.Event()
        self.checker = DetectionScheduler(
            wrap(self.detector), min_score=0.1, deadline_s=DEADLINE_S, wake=self.woken.set
        )
        self.now_s = 100.0
        self.released: list[int] = []
        self.frames: list[RawFrame] = []
        self._count = 0

    def arrive(self, *, model_input: bool = True, parts: int = 0) -> list[CheckedFrame]:
        """One more frame; its number is in its samples."""
        self.admit(model_input=model_input, parts=parts)
        return self.collect()

    def admit(self, *, model_input: bool = True, parts: int = 0) -> None:
        """A frame that comes before anybody collects."""
        number = self._count
        self._count += 1
        frame = RawFrame(
            FORMAT,
            np.full(FORMAT.size_bytes, number, np.uint8),
            arrived_s=self.now_s,
            time_s=self.now_s,
            model_input=np.zeros((64, 64, 3), np.uint8) if model_input else None,
            letterbox=Letterbox.plan(64, 64, size=64) if model_input else None,
            close_ups=close_ups(parts) if parts else None,
            on_release=lambda: self.released.append(number),
        )
        self.frames.append(frame)
        self.checker.admit(frame)

    def collect(self, *, after_s: float = 0.0) -> list[CheckedFrame]:
        self.now_s += after_s
        return list(self.checker.collect(self.now_s))

    def until_asked(self, count: int) -> None:
        deadline_s = time.monotonic() + 5
        while len(self.detector.asked) < count and time.monotonic() < deadline_s:
            time.sleep(0.001)
        assert len(self.detector.asked) >= count

    def answer(self, index: int, faces: Detections = NOBODY) -> list[CheckedFrame]:
        self.answer_unseen(index, faces)
        return self.collect()

    def answer_unseen(self, index: int, faces: Detections = NOBODY) -> None:
        """An answer that comes before anybody collects."""
        self.until_asked(index + 1)
        self.woken.clear()
        self.detector.asked[index].set_result(faces)
        assert self.woken.wait(5)

    def fail(self, index: int) -> list[CheckedFrame]:
        self.until_asked(index + 1)
        self.woken.clear()
        self.detector.asked[index].set_exception(ReplyError("nonsense"))
        assert self.woken.wait(5)
        return self.collect()


def close_ups(count: int) -> CloseUps:
    """The first parts of a frame, which is large beside its model input."""
    plan = PartPlan.of(Letterbox.plan(256, 256, size=64), tiles="auto")
    inputs = (np.zeros((64, 64, 3), np.uint8),) * count
    return CloseUps(plan, tuple(range(count)), inputs)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.checker.close()


def _numbers(verdicts: list[CheckedFrame]) -> list[int]:
    return [int(verdict.frame.take()[0]) for verdict in verdicts]


def _errors(verdicts: list[CheckedFrame]) -> list[str]:
    return ["" if verdict.error is None else str(verdict.error) for verdict in verdicts]


def test_frames_come_out_in_order_whatever_the_order_of_answers(bench: Bench) -> None:
    bench.arrive()
    bench.arrive()
    assert bench.answer(1) == []
    assert _numbers(bench.answer(0)) == [0, 1]


def test_the_newest_frame_wins_and_the_others_are_counted(bench: Bench) -> None:
    for _ in range(10):
        assert bench.arrive() == []
    bench.until_asked(IN_FLIGHT)
    assert bench.checker.dropped == 10 - IN_FLIGHT - 1
    assert bench.released == [2, 3, 4, 5, 6, 7, 8]
    assert _numbers(bench.answer(0)) == [0]
    assert _numbers(bench.answer(1)) == [1]
    assert _numbers(bench.answer(2)) == [9]


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
    assert bench.woken.wait(5)
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
    assert _errors(bench.fail(0)) == ["nonsense"]
    for _ in range(20):
        assert _errors(bench.arrive()) == ["nonsense"]
    bench.until_asked(1 + IN_FLIGHT)


def test_frames_are_shown_again_once_one_was_answered_in_time(bench: Bench) -> None:
    bench.arrive()
    bench.fail(0)
    assert _errors(bench.arrive()) == ["nonsense"]
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
    assert _errors(bench.arrive()) == ["nonsense"]


def test_what_was_asked_before_a_failure_is_not_waited_for(bench: Bench) -> None:
    bench.arrive()
    bench.arrive()
    assert _errors(bench.fail(0)) == ["nonsense", "nonsense"]


def test_frames_between_looks_follow_the_look_before_them(bench: Bench) -> None:
    bench.arrive()
    assert bench.arrive(model_input=False) == []
    verdicts = bench.answer(0)
    assert [verdict.faces is None for verdict in verdicts] == [False, True]
    assert _errors(bench.arrive(model_input=False)) == [""]


def test_frames_between_detections_are_refused_after_one_that_failed(bench: Bench) -> None:
    bench.arrive()
    bench.arrive(model_input=False)
    assert _errors(bench.fail(0)) == ["nonsense", "nonsense"]


def test_frames_between_looks_wait_for_a_look_of_their_own_after_a_recovery(bench: Bench) -> None:
    bench.arrive()
    bench.fail(0)
    bench.arrive()
    bench.answer(1)
    assert bench.arrive(model_input=False) == []
    assert bench.checker.dropped == 1, "nobody knows where faces are now"
    bench.arrive()
    assert _errors(bench.answer(2)) == [""]
    assert _errors(bench.arrive(model_input=False)) == [""]


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
        assert _numbers(bench.answer(2)) == [3, 4]


def test_frames_between_looks_follow_the_newest_look(bench: Bench) -> None:
    for model_input in (True, True, True, True):
        bench.arrive(model_input=model_input)
    assert bench.checker.dropped == 1
    bench.answer(0)
    bench.until_asked(3)
    bench.arrive(model_input=False)
    assert _numbers(bench.answer(1) + bench.answer(2)) == [1, 3, 4]


def test_frames_between_looks_go_with_the_look_that_was_dropped(bench: Bench) -> None:
    for model_input in (True, True, True, False, True, False):
        bench.arrive(model_input=model_input)
    assert bench.checker.dropped == 3
    assert _numbers(bench.answer(0) + bench.answer(1) + bench.answer(2)) == [0, 1, 4]


def test_a_detector_that_hangs_in_the_call_itself_is_left_behind(bench: Bench) -> None:
    bench.detector.hangs = hangs = threading.Event()
    bench.arrive()
    bench.arrive()
    assert bench.detector.entered.wait(5)
    assert len(bench.collect(after_s=DEADLINE_S + 0.01)) == 2
    assert len(bench.arrive()) == 1
    bench.detector.hangs = None
    bench.collect(after_s=PATIENCE * DEADLINE_S)
    bench.arrive()
    bench.answer(0)
    assert bench.arrive() == [], "it is asked again"
    hangs.set()


def _asking() -> int:
    """How many threads there are that ask a detector; other tests of the process leave others."""
    return sum(thread.name == "faceblur-submit" for thread in threading.enumerate())


def test_a_detector_that_hangs_for_ever_holds_few_threads(bench: Bench) -> None:
    bench.detector.hangs = hangs = threading.Event()
    before = _asking()
    for _ in range(3 * MAX_HUNG):
        bench.arrive()
        bench.arrive()
        bench.collect(after_s=PATIENCE * DEADLINE_S + 0.01)
    assert before < _asking() <= before + MAX_HUNG
    bench.detector.hangs = None
    hangs.set()
    deadline_s = time.monotonic() + 5
    while _asking() > before and time.monotonic() < deadline_s:
        time.sleep(0.01)
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
        assert bench.woken.wait(5)
        assert _errors(bench.collect()) == [""]
    else:
        assert bench.collect() == []
        assert _errors(bench.collect(after_s=DEADLINE_S + 0.01)) != [""]
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
