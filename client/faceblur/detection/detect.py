"""Find the faces of one image: as a whole, and in tiles where it is large."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.detection.detector import Detector
from faceblur.detection.letterbox import Letterbox, stretching
from faceblur.detection.options import DetectionOptions
from faceblur.detection.tiling import CONFIRMING_PART, View, merge, plan_views
from faceblur.detections import Detections
from faceblur.errors import DeadlineError, ServerError
from faceblur.image.pixels import Array, appearances, check_pixels, rgb8, used_white

_FEW_TONES: Final = 4
_DITHER_PX: Final = 1.0
_SAMPLED_SIDE: Final = 256

IN_FLIGHT = 4
"""Views that the detector is given at once."""


def detect(detector: Detector, frame: Array, options: DetectionOptions) -> Detections:
    """Find the faces of one image, in its own pixels.

    Memory beyond the image itself is that of a few views, each reduced before it is converted.

    Args:
        detector: Is given several views at once.
        frame: (H, W, 3) BGR, (H, W, 4) BGRA or (H, W) grey; uint8, uint16 or float32.
        options: Its `deadline_s` is that of each view.

    Raises:
        InputError: The array is not an image.
        ServerError: It could not be checked for faces; one view that fails is enough.
    """
    check_pixels(frame)
    height, width = frame.shape[:2]
    views = plan_views(width, height, size=options.size, tiles=options.tiles)
    threshold = options.threshold
    min_score = threshold if len(views) == 1 else threshold * CONFIRMING_PART
    found = _answers(detector, frame, views, options, min_score=min_score)
    return merge(list(found), width=width, height=height, threshold=threshold)


def _answers(
    detector: Detector,
    frame: Array,
    views: Sequence[View],
    options: DetectionOptions,
    *,
    min_score: float,
) -> Iterator[tuple[View, Detections]]:
    """The faces in each view, in pixels of the image; several views are under way at a time."""
    white, dithered = used_white(frame), _is_dithered(frame)
    curves: list[npt.NDArray[np.uint8] | None] = []
    waiting: deque[tuple[View, Letterbox, Future[Detections]]] = deque()
    try:
        for view in views:
            letterbox = Letterbox.plan(
                view.width, view.height, size=options.size, stride=detector.model.stride
            )
            part = frame[view.y : view.y + view.height, view.x : view.x + view.width]
            if dithered:
                part = np.asarray(cv2.GaussianBlur(part, (0, 0), _DITHER_PX), part.dtype)
            if part.dtype == np.float32:
                # One pixel that is not a number would spread while the part is reduced.
                part = np.nan_to_num(part)
            for index, shown in enumerate(appearances(letterbox.resize(part))):
                resized = rgb8(shown, white=white)
                if index == len(curves):
                    # The first view is the whole: a tile of plain sky stays plain.
                    curves.append(stretching(resized))
                canvas = letterbox.place(resized, curves[index])
                (answer,) = detector.submit([canvas], min_score=min_score)
                waiting.append((view, letterbox, answer))
                if len(waiting) >= IN_FLIGHT:
                    yield _answer(*waiting.popleft(), options.deadline_s)
        while waiting:
            yield _answer(*waiting.popleft(), options.deadline_s)
    finally:
        for _, _, future in waiting:
            future.cancel()


def _is_dithered(frame: Array) -> bool:
    """Whether it has so few tones that its dots have to be blurred into those between them."""
    step = max(1, max(frame.shape[:2]) // _SAMPLED_SIDE)
    seen = frame[::step, ::step]
    return seen.dtype == np.uint8 and np.count_nonzero(np.bincount(seen.reshape(-1))) <= _FEW_TONES


def _answer(
    view: View, letterbox: Letterbox, future: Future[Detections], deadline_s: float
) -> tuple[View, Detections]:
    try:
        faces = future.result(deadline_s)
    except CancelledError as error:
        raise ServerError("the detector was closed before the last part of the image") from error
    except FutureTimeoutError as error:
        future.cancel()
        raise DeadlineError(f"no answer within {deadline_s:g} s") from error
    return view, letterbox.to_source(faces).mapped(scale=1, offset=(view.x, view.y))
