"""Look in parts at a picture with more faces than one answer of the detector holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final

import numpy as np

from faceblur.detection.detector import (
    Detector,
    ModelInfo,
    ModelInput,
    renew,
    submit_batch,
    submit_everywhere,
)
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

    Where a canvas has more of them than one answer holds, it is looked at as a whole at a smaller
    size, and in overlapping parts at its own. One part without an answer is no answer.

    Args:
        detector: What finds the faces. Closed with this object.
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

    def submit(self, canvas: ModelInput, *, min_score: float) -> Future[Detections]:
        """Start looking for faces; see `faceblur.detection.detector.Detector`."""
        # The caller may use the canvas again as soon as this returns.
        kept = canvas.copy()
        first = self._detector.submit(canvas, min_score=min_score)
        return self._followed(first, partial(self._in_parts, kept, min_score))

    def submit_batch(
        self, canvases: Sequence[ModelInput], *, min_score: float
    ) -> list[Future[Detections]]:
        """Start looking for faces; see `faceblur.detection.detector.BatchDetector`."""
        if len(canvases) == 1:
            return [self.submit(canvases[0], min_score=min_score)]
        kept = [canvas.copy() for canvas in canvases]
        answers = submit_batch(self._detector, canvases, min_score=min_score)
        # A crowd in one of them fails all of a request.
        return [
            self._followed(answer, partial(self._by_itself, canvas, min_score))
            for answer, canvas in zip(answers, kept, strict=True)
        ]

    def submit_everywhere(
        self, canvas: ModelInput, *, min_score: float
    ) -> Iterator[Future[Detections]]:
        """See `faceblur.detection.detector.ManyWayDetector`."""
        return submit_everywhere(self._detector, canvas, min_score=min_score)

    def renew(self) -> None:
        """See `faceblur.detection.detector.ManyWayDetector`."""
        renew(self._detector)

    def close(self) -> None:
        """Close the detector; what is being looked at in parts fails."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._detector.close()

    def _followed(
        self, first: Future[Detections], again: Callable[[], Detections]
    ) -> Future[Detections]:
        """The first answer, or after a crowd the second."""
        answer: Future[Detections] = Future()

        def answered(_: Future[Detections]) -> None:
            # Whoever waited may have given it up.
            with suppress(InvalidStateError):
                if first.cancelled():
                    answer.cancel()
                elif (error := first.exception()) is None:
                    answer.set_result(first.result())
                elif isinstance(error, CrowdedError):
                    self._follow(answer, again, error)
                else:
                    answer.set_exception(error)

        answer.add_done_callback(lambda each: first.cancel() if each.cancelled() else None)
        first.add_done_callback(answered)
        return answer

    def _follow(
        self, answer: Future[Detections], again: Callable[[], Detections], error: ServerError
    ) -> None:
        def work() -> None:
            with suppress(InvalidStateError):
                try:
                    answer.set_result(again())
                except ServerError as failure:
                    answer.set_exception(failure)
                except Exception as failure:  # noqa: BLE001  whatever it is, nobody looked
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
            return self._detector.submit(canvas, min_score=min_score).result()
        except CrowdedError:
            return self._in_parts(canvas, min_score)

    def _in_parts(self, canvas: ModelInput, min_score: float) -> Detections:
        if not self._has_told:
            self._has_told = True
            logger.info("a picture has more faces than one answer holds: looking at it in parts")
        height, width = canvas.shape[:2]
        lowest = min_score * CONFIRMING_PART
        asked: list[tuple[View, Letterbox, Future[Detections]]] = []
        for view in part_views(width, height, size=PART_SIZE):
            letterbox = Letterbox.plan(
                view.width, view.height, size=PART_SIZE, stride=self.model.stride
            )
            part = canvas[view.y : view.y + view.height, view.x : view.x + view.width]
            fitted = letterbox.apply(np.ascontiguousarray(part))
            asked.append((view, letterbox, self._detector.submit(fitted, min_score=lowest)))
        found = [
            (view, box.to_source(future.result()).mapped(scale=1, offset=(view.x, view.y)))
            for view, box, future in asked
        ]
        return merge(found, width=width, height=height, threshold=min_score)
