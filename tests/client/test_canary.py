"""A detector is trusted only while a known face comes back from it."""

from __future__ import annotations

import time
from concurrent.futures import Future

import numpy as np
import numpy.typing as npt
import pytest

from faceblur import canary
from faceblur.detections import Detections
from faceblur.detector import ModelInfo
from faceblur.errors import CanaryError, ServerError

FACE = Detections.from_rows([[*canary.FACE, 0.9, *[0.0] * 10]])
ELSEWHERE = Detections.from_rows([[0, 0, 20, 20, 0.9, *[0.0] * 10]])
CANVAS = np.zeros((384, 640, 3), np.uint8)


class ScriptedDetector:
    """Answers what it is told to."""

    model = ModelInfo("scripted", "0" * 64)

    def __init__(self, answer: Detections | Exception | None) -> None:
        self.answer = answer
        self.closed = False

    def submit(self, canvas: npt.NDArray[np.uint8], *, min_score: float) -> Future[Detections]:
        future: Future[Detections] = Future()
        if isinstance(self.answer, Exception):
            future.set_exception(self.answer)
        elif self.answer is not None:
            future.set_result(self.answer)
        return future

    def close(self) -> None:
        self.closed = True


def test_a_detector_that_sees_passes() -> None:
    canary.check(ScriptedDetector(FACE), deadline_s=1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Detections.empty(), "without its face"),
        (ELSEWHERE, "without its face"),
        (ServerError("gone"), "gone"),
        (None, "within 0.1 s"),
    ],
)
def test_a_detector_that_does_not_see_fails(
    answer: Detections | Exception | None, reason: str
) -> None:
    with pytest.raises(CanaryError, match=reason):
        canary.check(ScriptedDetector(answer), deadline_s=0.1)


def test_no_frame_is_answered_before_the_first_canary() -> None:
    with pytest.raises(CanaryError):
        canary.GuardedDetector(ScriptedDetector(Detections.empty()), deadline_s=1)


def test_frames_are_refused_while_the_canary_is_dead_and_answered_again_after() -> None:
    detector = ScriptedDetector(FACE)
    guarded = canary.GuardedDetector(detector, deadline_s=1, interval_s=0.02)
    try:
        assert len(guarded.submit(CANVAS, min_score=0.5).result(1)) == 1
        # The server lives and answers, but is blind: an empty street would go out unmasked.
        detector.answer = Detections.empty()
        _wait(lambda: guarded.failure is not None)
        for refused in (
            guarded.submit(CANVAS, min_score=0.5),
            *guarded.submit_batch([CANVAS] * 2, min_score=0.5),
        ):
            with pytest.raises(CanaryError, match="without its face"):
                refused.result(1)
        detector.answer = FACE
        _wait(lambda: guarded.failure is None)
        assert len(guarded.submit(CANVAS, min_score=0.5).result(1)) == 1
    finally:
        guarded.close()
    assert detector.closed


def test_a_dead_canary_revives_the_server() -> None:
    detector = ScriptedDetector(FACE)
    revived = []

    def revive() -> None:
        revived.append(time.monotonic())
        detector.answer = FACE

    guarded = canary.GuardedDetector(detector, deadline_s=1, interval_s=600, revive=revive)
    try:
        detector.answer = ServerError("gone")
        assert guarded.recovered(timeout_s=5)
        assert len(revived) == 1
    finally:
        guarded.close()


def test_a_server_that_stays_away_is_said_to_be_away() -> None:
    detector = ScriptedDetector(FACE)
    guarded = canary.GuardedDetector(detector, deadline_s=0.1, interval_s=600)
    try:
        detector.answer = ServerError("gone")
        assert not guarded.recovered(timeout_s=0.5)
        with pytest.raises(CanaryError):
            guarded.submit(CANVAS, min_score=0.5).result(1)
    finally:
        guarded.close()


def _wait(condition: object, timeout_s: float = 5.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
