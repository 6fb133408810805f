"""A scheduler of detections on a bench: its detector answers, fails and hangs as the test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import numpy.typing as npt
from doubles import OneByOne

from faceblur.detection.detector import Detector, ModelInfo
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.parts import CloseUps, PartPlan
from faceblur.detections import Detections
from faceblur.errors import ReplyError
from faceblur.live.frame_format import FrameFormat
from faceblur.live.frames import RawFrame
from faceblur.live.scheduler import CheckedFrame, DetectionScheduler

PATIENCE_S = 60.0
DEADLINE_S = 1.0
"""On the clock of the bench, which stands still."""
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
            self.hangs.wait(PATIENCE_S)
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
        deadline_s = time.monotonic() + PATIENCE_S
        while len(self.detector.asked) < count:
            assert time.monotonic() < deadline_s, f"{len(self.detector.asked)} of {count}"
            time.sleep(0.001)

    def answer(self, index: int, faces: Detections = NOBODY) -> list[CheckedFrame]:
        self.answer_unseen(index, faces)
        return self.collect()

    def answer_unseen(self, index: int, faces: Detections = NOBODY) -> None:
        """An answer that comes before anybody collects."""
        self.until_asked(index + 1)
        self.woken.clear()
        self.detector.asked[index].set_result(faces)
        assert self.woken.wait(PATIENCE_S)

    def fail(self, index: int) -> list[CheckedFrame]:
        self.until_asked(index + 1)
        self.woken.clear()
        self.detector.asked[index].set_exception(ReplyError("nonsense"))
        assert self.woken.wait(PATIENCE_S)
        return self.collect()


def close_ups(count: int) -> CloseUps:
    """The first parts of a frame, which is large beside its model input."""
    plan = PartPlan.of(Letterbox.plan(256, 256, size=64), tiles="auto")
    inputs = (np.zeros((64, 64, 3), np.uint8),) * count
    return CloseUps(plan, tuple(range(count)), inputs)


def numbers(verdicts: list[CheckedFrame]) -> list[int]:
    return [int(verdict.frame.take()[0]) for verdict in verdicts]


def errors(verdicts: list[CheckedFrame]) -> list[str]:
    return ["" if verdict.error is None else str(verdict.error) for verdict in verdicts]
