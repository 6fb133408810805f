"""Detect in parts an image with more faces than one answer of the detector holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final

import numpy as np

from faceblur.detection.detector import Detector, ModelInfo, ModelInput, follow
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.tiling import CONFIRMING_PART, View, merge, part_views
from faceblur.detections import Detections
from faceblur.errors import CrowdedError, ServerError

logger = logging.getLogger(__name__)

PART_SIZE: Final = 320
"""Sides of a part, in pixels of the canvas: it has fewer cells than an answer holds."""

_THREADS: Final = 2


class CrowdDetector:
    """A detector that finds any number of faces; see `faceblur.detection.detector.Detector`.

    Where a model input has more of them than one answer holds, the detector runs on the whole at a
    smaller size, and on overlapping parts at full size. If one part goes unanswered, so does the
    whole. The inner detector is closed with this one.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        # In a thread of their own: answers arrive in threads that must not wait.
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="faceblur-crowd")
        self._has_told = False

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""
        return self._detector.model

    def submit(self, inputs: Sequence[ModelInput], *, min_score: float) -> list[Future[Detections]]:
        """Start the detection; see `faceblur.detection.detector.Detector`."""
        answers = self._detector.submit(inputs, min_score=min_score)
        # A crowd in one of them fails all of a request.
        again = self._in_parts if len(inputs) == 1 else self._by_itself
        return [
            self._followed(answer, partial(again, each, min_score))
            for answer, each in zip(answers, inputs, strict=True)
        ]

    def close(self) -> None:
        """Close the detector; images in progress fail."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._detector.close()

    def _followed(
        self, first: Future[Detections], again: Callable[[], Detections]
    ) -> Future[Detections]:
        """The first answer, or after a crowd the second."""

        def settle(answer: Future[Detections]) -> None:
            error = first.exception()
            if error is None:
                answer.set_result(first.result())
            elif isinstance(error, CrowdedError):
                self._follow(answer, again, error)
            else:
                answer.set_exception(error)

        return follow(first, settle)

    def _follow(
        self, answer: Future[Detections], again: Callable[[], Detections], error: ServerError
    ) -> None:
        def work() -> None:
            with suppress(InvalidStateError):
                try:
                    answer.set_result(again())
                except ServerError as failure:
                    answer.set_exception(failure)
                except Exception as failure:  # noqa: BLE001  whatever it is, nothing was checked
                    answer.set_exception(ServerError(f"the detector failed: {failure}"))

        try:
            self._pool.submit(work).add_done_callback(
                lambda job: answer.cancel() if job.cancelled() else None
            )
        except RuntimeError:
            # Closed meanwhile.
            answer.set_exception(error)

    def _by_itself(self, canvas: ModelInput, min_score: float) -> Detections:
        try:
            return self._detector.submit([canvas], min_score=min_score)[0].result()
        except CrowdedError:
            return self._in_parts(canvas, min_score)

    def _in_parts(self, canvas: ModelInput, min_score: float) -> Detections:
        if not self._has_told:
            self._has_told = True
            logger.info("an image has more faces than one answer holds: it is detected in parts")
        height, width = canvas.shape[:2]
        lowest = min_score * CONFIRMING_PART
        asked: list[tuple[View, Letterbox, Future[Detections]]] = []
        for view in part_views(width, height, size=PART_SIZE):
            letterbox = Letterbox.plan(
                view.width, view.height, size=PART_SIZE, stride=self.model.stride
            )
            part = canvas[view.y : view.y + view.height, view.x : view.x + view.width]
            # The whole was given its range when it was made.
            fitted = letterbox.place(letterbox.resize(np.ascontiguousarray(part)), None)
            asked.append((view, letterbox, self._detector.submit([fitted], min_score=lowest)[0]))
        found = [
            (view, box.to_source(future.result()).mapped(scale=1, offset=(view.x, view.y)))
            for view, box, future in asked
        ]
        return merge(found, width=width, height=height, threshold=min_score)
