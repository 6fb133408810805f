"""Ask a detector about the frames of a video."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final, NamedTuple

import av
import numpy as np

from faceblur.batch.video_threads import DecodedFrame
from faceblur.detection.detector import Detector, ModelInput
from faceblur.detection.letterbox import Letterbox
from faceblur.detections import Detections, FloatArray
from faceblur.errors import DeadlineError, ServerError
from faceblur.tracking import scene_cuts
from faceblur.video.frames import SourceFrame

BATCH: Final = 4
"""Frames in one request, at most: a file can wait for the slowest of them, and each request costs
the client and the server something of its own."""

IN_FLIGHT: Final = 3 * BATCH
"""Frames under way: while one group is masked, two keep the detector busy."""


class DetectedFrame(NamedTuple):
    """A frame and where its faces are, in its pixels; None if the detector was not asked."""

    frame: SourceFrame
    detections: Detections | None


class DetectionStage:
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

    def check(self, frames: Iterable[DecodedFrame], *, in_flight: int) -> Iterator[DetectedFrame]:
        """Find the faces of each frame; frames come out in the order they went in.

        Frames go to the detector in groups, two groups at least where so many may be in flight.

        Raises:
            ServerError: A frame could not be checked. Nothing comes out after it.
        """
        size = max(1, min(BATCH, in_flight // 2))
        waiting: deque[_Waiting] = deque()
        group: list[_Waiting] = []
        try:
            for item in frames:
                if len(waiting) >= in_flight:
                    if waiting[0] in group:
                        self._ask(group)
                    yield self._await_answer(waiting.popleft(), size)
                entry = _Waiting(item, asked=item.frame.index % self._every == 0)
                waiting.append(entry)
                if entry.asked:
                    group.append(entry)
                if len(group) == size:
                    self._ask(group)
            if group:
                self._ask(group)
            while waiting:
                yield self._await_answer(waiting.popleft(), size)
        finally:
            for each in waiting:
                if each.answer is not None:
                    each.answer.cancel()

    def _ask(self, group: list[_Waiting]) -> None:
        """Send a group, and empty it."""
        inputs = [each.model_input for each in group if each.model_input is not None]
        if len(inputs) < len(group):
            raise ValueError("a frame without an input cannot be checked")
        answers = self._detector.submit(inputs, min_score=self._min_score)
        for each, answer in zip(group, answers, strict=True):
            each.answer, each.model_input = answer, None
        group.clear()

    def _await_answer(self, waiting: _Waiting, size: int) -> DetectedFrame:
        frame, answer = waiting.frame, waiting.answer
        if not waiting.asked:
            return DetectedFrame(frame, None)
        if answer is None:
            raise ValueError("a frame was passed over")
        try:
            # The detector's own deadline comes before; it grows with the group.
            found = answer.result(timeout=self._deadline_s * size)
        except CancelledError as error:
            raise ServerError("the detector was closed before the last frame") from error
        except FutureTimeoutError as error:
            raise DeadlineError(
                f"no answer within {self._deadline_s * size:g} s for the frame at "
                f"{float(frame.pts_s):.3f} s"
            ) from error
        return DetectedFrame(frame, self._letterbox.to_source(found))


class _Waiting:
    """A frame on its way."""

    def __init__(self, item: DecodedFrame, *, asked: bool) -> None:
        self.frame = item.frame
        self.asked = asked
        self.model_input: ModelInput | None = item.model_input if asked else None
        self.answer: Future[Detections] | None = None


def thumbnail(image: av.VideoFrame) -> FloatArray:
    """A frame's thumbnail for telling scenes apart, from its first plane: luma, grey or green."""
    bits = image.format.components[0].bits
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    plane = image.planes[0]
    rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
    return scene_cuts.thumbnail(rows[:, : plane.width], white=float((1 << bits) - 1))


def frame_bytes(width: int, height: int, pixel_format: str) -> int:
    """Memory that a decoded frame takes, about."""
    bits = av.VideoFormat(pixel_format, width, height).padded_bits_per_pixel
    return width * height * bits // 8
