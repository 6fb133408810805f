"""A detector is trusted only while a known face comes back from it."""

from __future__ import annotations

import time
from concurrent.futures import Future

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from doubles import OneByOne
from waiting import until

from faceblur.detection import canary
from faceblur.detection.detector import ModelInfo
from faceblur.detections import Detections
from faceblur.errors import CanaryError, ServerError

FACE = Detections.from_rows([[*canary.FACE, 0.9, *[0.0] * 10]])
ELSEWHERE = Detections.from_rows([[0, 0, 20, 20, 0.9, *[0.0] * 10]])
CANVAS = np.zeros((384, 640, 3), np.uint8)


class ScriptedDetector(OneByOne):
    """Answers what it is told to."""

    model = ModelInfo("scripted", "0" * 64)

    def __init__(self, answer: Detections | Exception | None) -> None:
        self.answer = answer
        self.closed = False
        self.asked: list[tuple[int, ...]] = []

    def submit_one(self, canvas: npt.NDArray[np.uint8], *, min_score: float) -> Future[Detections]:
        future: Future[Detections] = Future()
        self.asked.append(canvas.shape[:2])
        if self.answer is FACE:
            # Where the check image is, if it is there.
            found = cv2.matchTemplate(canvas, canary.check_image(), cv2.TM_SQDIFF)
            left, top = cv2.minMaxLoc(found)[2]
            moved = canary.FACE + np.array([left, top] * 2, np.float32)
            future.set_result(Detections.from_rows([[*moved, 0.9, *[0.0] * 10]]))
        elif isinstance(self.answer, Exception):
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
        assert len(guarded.submit([CANVAS], min_score=0.5)[0].result(60)) == 1
        # The server lives and answers, but is blind: an empty street would go out unmasked.
        detector.answer = Detections.empty()
        until(lambda: guarded.failure is not None, "the canary dies")
        for refused in (
            guarded.submit([CANVAS], min_score=0.5)[0],
            *guarded.submit([CANVAS] * 2, min_score=0.5),
        ):
            with pytest.raises(CanaryError, match="without its face"):
                refused.result(60)
        detector.answer = FACE
        until(lambda: guarded.failure is None, "the canary lives")
        assert len(guarded.submit([CANVAS], min_score=0.5)[0].result(60)) == 1
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
        assert guarded.recovered(timeout_s=60)
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
            guarded.submit([CANVAS], min_score=0.5)[0].result(60)
    finally:
        guarded.close()


def test_the_check_image_is_sent_in_the_shapes_of_the_frames_anywhere_in_them() -> None:
    detector = ScriptedDetector(FACE)
    guarded = canary.GuardedDetector(detector, deadline_s=9, interval_s=0.02)
    try:
        assert set(detector.asked) == {(128, 128)}
        detector.asked.clear()
        guarded.submit([CANVAS], min_score=0.5)[0].result(60)
        guarded.submit([np.zeros((160, 320, 3), np.uint8)] * 2, min_score=0.5)[1].result(60)
        guarded.submit([np.zeros((64, 64, 3), np.uint8)], min_score=0.5)[0]  # too small for it
        frames = {(384, 640): 1, (160, 320): 2}
        for shape, sent in frames.items():
            until(
                lambda shape=shape, sent=sent: detector.asked.count(shape) > sent,  # type: ignore[misc]
                f"a canary of the shape {shape}",
            )
        assert guarded.failure is None
    finally:
        guarded.close()
    places = {tuple(canary.place_on_canvas((384, 640))[1]) for _ in range(8)}
    assert len(places) > 1


def test_a_face_that_is_always_at_the_same_place_is_not_the_one_that_was_sent() -> None:
    stuck = ScriptedDetector(Detections.from_rows([[*canary.FACE, 0.9, *[0.0] * 10]]))
    canary.check(stuck, deadline_s=1)
    with pytest.raises(CanaryError, match="without its face"):
        canary.check(stuck, deadline_s=1, shape=(640, 640))


def test_canaries_are_an_interval_apart_however_long_they_take() -> None:
    looks: list[float] = []

    class Slow(ScriptedDetector):
        def submit_one(
            self, canvas: npt.NDArray[np.uint8], *, min_score: float
        ) -> Future[Detections]:
            looks.append(time.monotonic())
            time.sleep(0.1)
            return super().submit_one(canvas, min_score=min_score)

    def are_in_time() -> bool:
        """Four in a row, as they are unless the machine holds one up."""
        return any(last - first < 4 * 0.25 for first, last in zip(looks, looks[4:], strict=False))

    guarded = canary.GuardedDetector(Slow(FACE), deadline_s=60, interval_s=0.2)
    try:
        until(are_in_time, "canaries 0.2 s apart, though each takes half of that")
    finally:
        guarded.close()


def test_a_frame_that_is_under_way_when_the_canary_dies_is_refused() -> None:
    detector = ScriptedDetector(FACE)
    guarded = canary.GuardedDetector(detector, deadline_s=0.1, interval_s=600)
    try:
        detector.answer = None
        sent: list[Future[Detections]] = []
        submit = detector.submit_one

        def late(canvas: npt.NDArray[np.uint8], *, min_score: float) -> Future[Detections]:
            sent.append(submit(canvas, min_score=min_score))
            return sent[-1]

        detector.submit_one = late  # type: ignore[method-assign]
        frame = guarded.submit([CANVAS], min_score=0.5)[0]
        guarded.look()
        until(lambda: guarded.failure is not None, "the canary dies")
        sent[0].set_result(Detections.empty())
        with pytest.raises(CanaryError):
            frame.result(60)
        given_up = guarded.submit([CANVAS], min_score=0.5)[0]
        given_up.cancel()
    finally:
        guarded.close()
