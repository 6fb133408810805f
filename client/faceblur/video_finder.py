"""Ask a detector about the frames of a video."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import NamedTuple

from faceblur.detections import Detections
from faceblur.detector import Detector
from faceblur.errors import DeadlineError, ServerError
from faceblur.letterbox import Letterbox
from faceblur.video_frames import SourceFrame
from faceblur.video_job import UncheckedFrame


class CheckedFrame(NamedTuple):
    """A frame and where its faces are, in its pixels; None if the detector was not asked."""

    frame: SourceFrame
    detections: Detections | None


class VideoFinder:
    """Asks a detector about frames, several at a time."""

    def __init__(
        self,
        detector: Detector,
        letterbox: Letterbox,
        *,
        min_score: float,
        every: int,
        deadline_s: float,
    ) -> None:
        self._detector = detector
        self._letterbox = letterbox
        self._min_score = min_score
        self._every = every
        self._deadline_s = deadline_s

    def check(self, frames: Iterable[UncheckedFrame], *, in_flight: int) -> Iterator[CheckedFrame]:
        """Find the faces of each frame; frames come out in the order they went in.

        Raises:
            ServerError: A frame could not be checked. Nothing comes out after it.
        """
        waiting: deque[tuple[SourceFrame, Future[Detections] | None]] = deque()
        try:
            for item in frames:
                answer = None
                if item.frame.index % self._every == 0:
                    if item.canvas is None:
                        raise ValueError("a frame without a canvas cannot be checked")
                    answer = self._detector.submit(item.canvas, min_score=self._min_score)
                waiting.append((item.frame, answer))
                if len(waiting) >= in_flight:
                    yield self._checked(*waiting.popleft())
            while waiting:
                yield self._checked(*waiting.popleft())
        finally:
            for _, answer in waiting:
                if answer is not None:
                    answer.cancel()

    def _checked(self, frame: SourceFrame, answer: Future[Detections] | None) -> CheckedFrame:
        if answer is None:
            return CheckedFrame(frame, None)
        try:
            found = answer.result(timeout=self._deadline_s)
        except CancelledError as error:
            raise ServerError("the detector was closed before the last frame") from error
        except FutureTimeoutError as error:
            raise DeadlineError(
                f"no answer within {self._deadline_s:g} s for the frame at "
                f"{float(frame.pts_s):.3f} s"
            ) from error
        return CheckedFrame(frame, self._letterbox.to_source(found))
