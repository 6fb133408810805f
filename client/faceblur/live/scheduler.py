"""Ask the detector about frames: the newest first, two at a time, each with a deadline."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from faceblur.detection.detector import Detector
from faceblur.detections import Detections
from faceblur.errors import DeadlineError, FaceblurError, ServerError
from faceblur.live.frames import RawFrame
from faceblur.live.submission import InFlight, Submitter

IN_FLIGHT: Final = 2
"""Frames of one camera in flight: one travels while the detector runs on another."""


@dataclass(frozen=True, eq=False)
class CheckedFrame:
    """What became of a frame.

    Attributes:
        frame: To be released by the receiver.
        faces: In its pixels, with scores from the asked one on; None if the detector was not
            asked, as faces are followed over this frame.
        error: Why it could not be checked; it must not be shown then. None if it was.
    """

    frame: RawFrame
    faces: Detections | None = None
    error: FaceblurError | None = None


class DetectionScheduler:
    """Decides for each frame of one camera whether it can be shown. For one thread.

    While it is blind (the last frames could not be checked) every frame is refused as it comes, at
    the camera's pace, and the detector is asked about some of them only to find out when it
    answers again.

    Attributes:
        dropped: Frames left out since newer ones came.
        is_blind: Frames are refused.
        error: Why a frame could last not be checked.
    """

    def __init__(
        self, detector: Detector, *, min_score: float, deadline_s: float, wake: Callable[[], None]
    ) -> None:
        """Start with nothing to do; other threads `wake` it when there is something to collect.

        A frame's answer must come within `deadline_s` of its arrival.
        """
        self._submitter = Submitter(detector, min_score=min_score, wake=wake)
        self._min_score = min_score
        self._deadline_s = deadline_s
        self._queue: deque[InFlight | RawFrame] = deque()
        """Frames in order: those that were asked about, and those between them."""
        self._waiting: RawFrame | None = None
        """The newest, while the detector is busy."""
        self._skipping = False
        """A frame that carried a model input was dropped, so those up to the next one go too."""
        self._in_flight: set[InFlight] = set()
        """Whatever the detector has not answered, or has not copied."""
        self._probes: set[InFlight] = set()
        self.dropped = 0
        self.is_blind = False
        self.error: FaceblurError = ServerError("frames were not checked yet")

    def due_s(self) -> float:
        """When `collect` has to be called at the latest, `time.monotonic()`."""
        if self._queue:
            head = self._queue[0]
            return head.expires_s if isinstance(head, InFlight) else 0.0
        if self._waiting is not None:
            return self._waiting.arrived_s + self._deadline_s
        return float("inf")

    def admit(self, frame: RawFrame) -> None:
        """Take in the next frame."""
        if frame.model_input is None:
            if self._waiting is not None or self._skipping:
                self._drop(frame)
            else:
                self._queue.append(frame)
            return
        if self._waiting is not None:
            self._drop(self._waiting)
        # Those that come after it have detections to follow.
        self._skipping = False
        self._waiting = frame

    def collect(self, now_s: float) -> Iterator[CheckedFrame]:
        """All frames whose turn has come, in order."""
        self._tidy(now_s)
        while True:
            self._submit_waiting()
            verdict = self._next(now_s)
            if verdict is None:
                return
            if verdict.error is not None:
                self.is_blind, self.error = True, verdict.error
            yield verdict

    @property
    def is_empty(self) -> bool:
        """Whether nothing is under way any more."""
        return not self._queue and self._waiting is None

    def close(self) -> None:
        """Release every frame, and ask about none any more."""
        self._submitter.close()
        for each in self._queue:
            (each.frame if isinstance(each, InFlight) else each).release()
        self._queue.clear()
        if self._waiting is not None:
            self._waiting.release()
            self._waiting = None

    def _next(self, now_s: float) -> CheckedFrame | None:
        if not self._queue:
            return self._refuse_waiting(now_s)
        head = self._queue[0]
        if isinstance(head, RawFrame):
            self._queue.popleft()
            return CheckedFrame(head, error=self.error if self.is_blind else None)
        if self.is_blind:
            # Nothing of before the failure is waited for, but it may show that it is over.
            self._queue.popleft()
            self._probes.add(head)
            return CheckedFrame(head.frame, error=self.error)
        is_late = now_s > head.expires_s
        if not (is_late or head.answer.done()):
            return None
        result = self._deadline_error() if is_late else head.result()
        self._queue.popleft()
        if isinstance(result, FaceblurError):
            return CheckedFrame(head.frame, error=result)
        head.frame.is_checked = True
        return CheckedFrame(head.frame, faces=result)

    def _refuse_waiting(self, now_s: float) -> CheckedFrame | None:
        """The frame that waits, if it cannot be asked about any more or we are blind."""
        frame = self._waiting
        if frame is None or not (self.is_blind or now_s > frame.arrived_s + self._deadline_s):
            return None
        self._waiting = None
        return CheckedFrame(frame, error=self.error if self.is_blind else self._deadline_error())

    def _deadline_error(self) -> DeadlineError:
        return DeadlineError(f"the detector did not answer within {self._deadline_s:g} s")

    def _submit_waiting(self) -> None:
        frame = self._waiting
        if frame is None or len(self._in_flight) >= IN_FLIGHT or self._submitter.is_stuck:
            return
        request = InFlight(frame, self._deadline_s, min_score=self._min_score)
        self._in_flight.add(request)
        self._submitter.submit(request)
        if self.is_blind:
            # Only to find out: the frame itself is refused at once.
            self._probes.add(request)
        else:
            self._waiting = None
            self._queue.append(request)

    def _tidy(self, now_s: float) -> None:
        """Forget what was answered; see whether the detector answers again."""
        done = {q for q in self._in_flight if q.answer.done() and q.is_sent}
        self._in_flight -= done
        for request in done:
            request.frame.release()
        for request in self._probes & done:
            result = request.result()
            if isinstance(result, FaceblurError):
                self.error = result
            elif now_s <= request.expires_s and self.is_blind:
                self._resume()
        self._probes -= done
        self._give_up(now_s)

    def _resume(self) -> None:
        """What the detector found is lost: frames without a detection of their own wait for one."""
        self.is_blind = False
        # While blind nothing stays here, so these have come after the frame that was refused.
        while self._queue:
            head = self._queue.popleft()
            assert isinstance(head, RawFrame)
            self._drop(head)
        self._skipping = self._waiting is None

    def _give_up(self, now_s: float) -> None:
        """Forget frames that the detector has lost."""
        lost = {request for request in self._in_flight if now_s > request.lost_s}
        if any(not request.is_sent for request in lost):
            # The call itself hangs.
            self._submitter.abandon_call()
        for request in lost:
            request.frame.release()
        self._in_flight -= lost
        self._probes -= lost

    def _drop(self, frame: RawFrame) -> None:
        self.dropped += 1
        self._skipping = self._skipping or frame.model_input is not None
        frame.release()
