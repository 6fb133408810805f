"""Hand frames to the detector from threads of their own: a server that hangs can hang the call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from queue import SimpleQueue
from typing import Final

from faceblur.detection.detector import Detector
from faceblur.detection.trace_context import requests_of
from faceblur.detections import Detections
from faceblur.errors import FaceblurError, ServerError
from faceblur.live.frames import RawFrame

MAX_HUNG: Final = 4
"""So many threads at most hang in a call of the detector; then it is not called any more."""

PATIENCE: Final = 3.0
"""After so many deadlines a frame without any answer, not even a refusal, no longer counts as with
the detector: the connection has lost it."""


class InFlight:
    """One frame on its way to the detector."""

    def __init__(self, frame: RawFrame, deadline_s: float, *, min_score: float) -> None:
        # Its memory is needed until the detector has a copy, whatever becomes of the frame.
        frame.hold()
        self.frame = frame
        self.expires_s = frame.arrived_s + deadline_s
        self.lost_s = frame.arrived_s + PATIENCE * deadline_s
        self.answer: Future[list[Detections]] = Future()
        """For the whole and for each of its parts, in pixels of the model inputs."""
        self._min_score = min_score
        self.sent_s = 0.0
        self.is_sent = False
        """The detector has its own copy of the model input."""

    def settle(self, answers: list[Detections], error: BaseException | None = None) -> None:
        """Give the answer, or say why there is none."""
        if self.frame.trace is not None:
            # First: who sees the answer notes what follows.
            name = "" if error is None else type(error).__name__
            self.frame.trace.stage("detect", self.sent_s, error=name)
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(answers)

    def result(self) -> Detections | FaceblurError:
        """The answer that has come."""
        try:
            answers = self.answer.result(0)
        except FaceblurError as error:
            return error
        except Exception as error:  # noqa: BLE001  no answer, whatever it is
            return ServerError(f"the detector failed: {error or type(error).__name__}")
        letterbox, close_ups = self.frame.letterbox, self.frame.close_ups
        assert letterbox is not None
        if close_ups is None:
            return letterbox.to_source(answers[0])
        return close_ups.plan.merge(answers, close_ups.parts, min_score=self._min_score)


class Submitter:
    """Submits frames from one thread, and from another one when the first hangs in a call.

    `wake` is called from these threads when an answer has come.
    """

    def __init__(self, detector: Detector, *, min_score: float, wake: Callable[[], None]) -> None:
        self._new_thread = partial(_SubmitThread, detector, min_score, wake)
        self._thread = self._new_thread()
        self._hung: list[_SubmitThread] = []

    @property
    def is_stuck(self) -> bool:
        """Whether too many calls hang for one more to be made."""
        self._hung = [thread for thread in self._hung if thread.is_alive()]
        return len(self._hung) >= MAX_HUNG

    def submit(self, request: InFlight) -> None:
        """Hand over a frame, and do not wait."""
        self._thread.requests.put(request)

    def abandon_call(self) -> None:
        """Leave the thread to the call that hangs in it, and go on with another."""
        self.close()
        self._hung.append(self._thread)
        self._thread = self._new_thread()

    def close(self) -> None:
        """End the thread as soon as its calls return."""
        self._thread.requests.put(None)


class _SubmitThread(threading.Thread):
    """Calls the detector, one request after the other; None ends it."""

    def __init__(self, detector: Detector, min_score: float, wake: Callable[[], None]) -> None:
        super().__init__(name="faceblur-submit", daemon=True)
        self._detector = detector
        self._min_score = min_score
        self._wake = wake
        self.requests: SimpleQueue[InFlight | None] = SimpleQueue()
        self.start()

    def run(self) -> None:
        while (request := self.requests.get()) is not None:
            self._submit(request)

    def _submit(self, request: InFlight) -> None:
        frame = request.frame
        assert frame.model_input is not None
        close_ups = () if frame.close_ups is None else frame.close_ups.inputs
        request.sent_s = time.monotonic()
        try:
            with requests_of("" if frame.trace is None else frame.trace.traceparent):
                futures = self._detector.submit(
                    [frame.model_input, *close_ups], min_score=self._min_score
                )
        except Exception as error:  # noqa: BLE001  it must not end this thread
            request.settle([], error)
            request.is_sent = True
            self._wake()
            return
        request.is_sent = True
        _Gathering(futures, request, self._wake)


class _Gathering:
    """Waits for all answers to one frame: a part that goes unanswered leaves it unchecked."""

    def __init__(
        self, inner: Sequence[Future[Detections]], request: InFlight, wake: Callable[[], None]
    ) -> None:
        self._inner, self._request, self._wake = inner, request, wake
        self._left = len(inner)
        self._lock = threading.Lock()
        for future in inner:
            future.add_done_callback(self._take)

    def _take(self, done: Future[Detections]) -> None:
        error = CancelledError() if done.cancelled() else done.exception()
        with self._lock:
            self._left -= 1
            if self._request.answer.done() or (error is None and self._left):
                return
            if error is not None:
                self._request.settle([], error)
            else:
                self._request.settle([future.result() for future in self._inner])
        self._wake()
