"""Ask a detector about the frames of a video."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from itertools import islice
from typing import Final, NamedTuple

import av
import numpy as np

from faceblur.batch.video_threads import DecodedFrame
from faceblur.detection.detector import Detector, ModelInput
from faceblur.detection.parts import PartPlan
from faceblur.detections import Detections, FloatArray
from faceblur.errors import DeadlineError, ServerError
from faceblur.image.pixels import Array
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
        plan: PartPlan,
        *,
        min_score: float,
        deadline_s: float,
    ) -> None:
        self._detector = detector
        self._plan = plan
        self._min_score = min_score
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
                    yield self._await_answer(waiting.popleft())
                entry = _Waiting(item)
                waiting.append(entry)
                if item.model_inputs is not None:
                    group.append(entry)
                if len(group) == size:
                    self._ask(group)
            if group:
                self._ask(group)
            while waiting:
                yield self._await_answer(waiting.popleft())
        finally:
            for each in waiting:
                for answer in each.answers:
                    answer.cancel()

    def _ask(self, group: list[_Waiting]) -> None:
        """Send a group, and empty it."""
        inputs = [each for waiting in group for each in waiting.inputs]
        # The detector's own deadline comes before; it grows with the group.
        limit_s = self._deadline_s * len(inputs)
        answers = iter(self._detector.submit(inputs, min_score=self._min_score))
        for waiting in group:
            waiting.answers = list(islice(answers, len(waiting.inputs)))
            waiting.inputs, waiting.limit_s = (), limit_s
        group.clear()

    def _await_answer(self, waiting: _Waiting) -> DetectedFrame:
        frame = waiting.frame
        if waiting.parts is None:
            return DetectedFrame(frame, None)
        if len(waiting.answers) != 1 + len(waiting.parts):
            raise ValueError("a frame was passed over")
        try:
            found = [answer.result(timeout=waiting.limit_s) for answer in waiting.answers]
        except CancelledError as error:
            raise ServerError("the detector was closed before the last frame") from error
        except FutureTimeoutError as error:
            raise DeadlineError(
                f"no answer within {waiting.limit_s:g} s for the frame at "
                f"{float(frame.pts_s):.3f} s"
            ) from error
        faces = self._plan.merge(found, waiting.parts, min_score=self._min_score)
        return DetectedFrame(frame, faces)


class _Waiting:
    """A frame on its way.

    Attributes:
        parts: Those that the detector is given beside the whole; None if it is not asked.
    """

    def __init__(self, item: DecodedFrame) -> None:
        self.frame = item.frame
        self.parts = None if item.model_inputs is None else item.model_inputs.parts
        self.inputs: Sequence[ModelInput] = (
            () if item.model_inputs is None else item.model_inputs.inputs
        )
        self.answers: list[Future[Detections]] = []
        self.limit_s = 0.0


def thumbnail(image: av.VideoFrame) -> FloatArray:
    """A frame's thumbnail for telling scenes apart, from its first plane: luma, grey or green."""
    luma, white = luma_of(image)
    return scene_cuts.thumbnail(luma, white=white)


def luma_of(image: av.VideoFrame) -> tuple[Array, float]:
    """A frame's first plane, luma, grey or green, uint8 or uint16, in place; its largest value."""
    bits = image.format.components[0].bits
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    plane = image.planes[0]
    rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
    return rows[:, : plane.width], float((1 << bits) - 1)


def frame_bytes(width: int, height: int, pixel_format: str) -> int:
    """Memory that a decoded frame takes, about."""
    bits = av.VideoFormat(pixel_format, width, height).padded_bits_per_pixel
    return width * height * bits // 8
