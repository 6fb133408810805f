"""Hand frames to the detector from threads of their own: a server that hangs can hang the call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from queue import SimpleQueue
from typing import Final

from faceblur.detection.detector import Detector
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

    def __init__(self, frame: RawFrame, deadline_s: float) -> None:
        # Its memory is needed until the detector has a copy, whatever becomes of the frame.
        frame.hold()
        self.frame = frame
        self.expires_s = frame.arrived_s + deadline_s
        self.lost_s = frame.arrived_s + PATIENCE * deadline_s
        self.answer: Future[Detections] = Future()
        self.is_sent = False
        """The detector has its own copy of the model input."""

    def result(self) -> Detections | FaceblurError:
        """The answer that has come."""
        try:
            faces = self.answer.result(0)
        except FaceblurError as error:
            return error
        except Exception as error:  # noqa: BLE001  no answer, whatever it is
            return ServerError(f"the detector failed: {error or type(error).__name__}")
        letterbox = self.frame.letterbox
        assert letterbox is not None
        return letterbox.to_source(faces)


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
        model_input = request.frame.model_input
        assert model_input is not None

        def pass_on(inner: Future[Detections]) -> None:
            error = inner.exception() if not inner.cancelled() else CancelledError()
            if error is not None:
                request.answer.set_exception(error)
            else:
                request.answer.set_result(inner.result())
            self._wake()

        try:
            future = self._detector.submit([model_input], min_score=self._min_score)[0]
        except Exception as error:  # noqa: BLE001  it must not end this thread
            request.answer.set_exception(error)
            request.is_sent = True
            self._wake()
            return
        request.is_sent = True
        future.add_done_callback(pass_on)
