"""Proof that a detector sees: a known image must come back with its known face.

A server that says it is ready proves nothing: a Python backend whose process was killed keeps
saying so. Only a real answer to a real image counts.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.boxes import box_iou
from faceblur.detection.detector import Detector, ModelInfo, ModelInput, follow, refuse
from faceblur.detection.letterbox import PAD_VALUE
from faceblur.detection.repeats import kind_of
from faceblur.detections import Detections
from faceblur.errors import CanaryError, FaceblurError

logger = logging.getLogger(__name__)

CHECK_IMAGE = Path(__file__).with_name("canary.png")
"""128 × 128 pixels of NASA's public-domain portrait of Eileen Collins (S93-47357)."""

FACE = np.array([45.0, 28.0, 84.0, 80.0], np.float32)
"""Where her face is, x1 y1 x2 y2 in pixels, drawn by hand."""

MIN_SCORE = 0.3
MIN_IOU = 0.4
INTERVAL_S = 5.0
"""Pause between two canaries."""

_RECENT = 32
"""Frames whose shapes are remembered."""

RECONNECTION_S = 5.0
"""How long a server that was started again has to come into reach."""


class Routes(Protocol):
    """The several routes by which frames reach a detector, each of which can be misled."""

    def submit_by_each(
        self, model_input: ModelInput, *, min_score: float
    ) -> Iterator[Future[Detections]]:
        """Send a small input by each route in turn, the next when the last answer was taken."""

    def renew(self) -> None:
        """Use none of the routes again: one of them brought the answer to something else."""


def check(
    detector: Detector,
    *,
    deadline_s: float,
    copies: int = 1,
    shape: tuple[int, int] | None = None,
    routes: Routes | None = None,
) -> None:
    """Send the image and expect its face: as it is, as a frame, and by every route of frames.

    Args:
        detector: What has to find it.
        deadline_s: Seconds until the answer must be here.
        copies: How many to send at once; a server with several instances of a model can have
            lost one of them.
        shape: Height and width of frames. The image is sent somewhere on one of that shape too.
        routes: Those by which frames reach the detector, where there are several.

    Raises:
        CanaryError: It did not come back with its face in time.
    """
    sheets = [(check_image(), FACE)] * copies
    if shape is not None and min(shape) >= min(check_image().shape[:2]):
        sheets.append(place_on_canvas(shape))
    sent = [(detector.submit([sheet], min_score=MIN_SCORE)[0], face) for sheet, face in sheets]
    for future, face in sent:
        _judge(future, face, deadline_s)
    for future in routes.submit_by_each(check_image(), min_score=MIN_SCORE) if routes else ():
        _judge(future, FACE, deadline_s)


def place_on_canvas(shape: tuple[int, int]) -> tuple[ModelInput, npt.NDArray[np.float32]]:
    """The image somewhere on a grey canvas of a height and width, and where its face is there."""
    canvas = np.full((*shape, 3), PAD_VALUE, np.uint8)
    height, width = check_image().shape[:2]
    top, left = (
        secrets.randbelow(room - side + 1)
        for room, side in zip(shape, (height, width), strict=True)
    )
    canvas[top : top + height, left : left + width] = check_image()
    return canvas, FACE + np.array([left, top, left, top], np.float32)


def _judge(future: Future[Detections], face: npt.NDArray[np.float32], deadline_s: float) -> None:
    try:
        faces = future.result(deadline_s)
    except FutureTimeoutError as error:
        raise CanaryError(f"the check image was not answered within {deadline_s:g} s") from error
    except FaceblurError as error:
        raise CanaryError(f"the check image was not answered: {error}") from error
    overlap = box_iou(faces.boxes, face).max(initial=0.0)
    if overlap < MIN_IOU:
        raise CanaryError(
            f"the check image came back without its face ({len(faces)} found, best overlap "
            f"{overlap:.2f}); the model or the server is broken"
        )


class GuardedDetector:
    """A detector that answers only while its canary lives.

    One canary is sent before the first frame and one every few seconds after, by the routes and in
    the shapes of the frames; while the last one failed, every frame fails with its `CanaryError`,
    also one that is under way.

    Args:
        detector: What finds the faces. Closed with this object.
        deadline_s: Seconds in which a canary must come back.
        interval_s: Seconds from one canary to the next.
        copies: How many are sent at once; see `check`.
        revive: Called when a canary failed, to bring the server back; it may take its time.
        routes: Those of the frames; see `check`.

    Raises:
        CanaryError: The first canary failed.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        deadline_s: float,
        interval_s: float = INTERVAL_S,
        copies: int = 1,
        revive: Callable[[], None] | None = None,
        routes: Routes | None = None,
    ) -> None:
        self._detector = detector
        self._routes = routes
        self._deadline_s = deadline_s
        self._interval_s = interval_s
        self._check = partial(check, detector, deadline_s=deadline_s, copies=copies, routes=routes)
        self._revive = revive
        self._failure: CanaryError | None = None
        self._shapes: deque[tuple[int, int]] = deque(maxlen=_RECENT)
        self._stop = threading.Event()
        self._look_now = threading.Event()
        self._looked = threading.Condition()
        self._check()
        self._thread = threading.Thread(target=self._watch, name="faceblur-canary", daemon=True)
        self._thread.start()

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""
        return self._detector.model

    @property
    def failure(self) -> CanaryError | None:
        """Why frames are refused at the moment; None when they are not."""
        return self._failure

    def submit(self, inputs: Sequence[ModelInput], *, min_score: float) -> list[Future[Detections]]:
        """Start the detection; see `faceblur.detection.detector.Detector`."""
        if (failure := self._failure) is not None:
            return refuse(failure, len(inputs))
        answers = self._detector.submit(inputs, min_score=min_score)
        return [
            self._kept(answer, each.shape) for answer, each in zip(answers, inputs, strict=True)
        ]

    def look(self) -> None:
        """Have a canary sent soon, without waiting for it; frames go on meanwhile."""
        self._look_now.set()

    def recovered(self, *, timeout_s: float) -> bool:
        """Send a canary now, revive the server if it fails, and wait until one lives."""
        with self._looked:
            self._failure = self._failure or CanaryError("the server is being checked")
            self._look_now.set()
            return self._looked.wait_for(lambda: self._failure is None, timeout_s)

    def close(self) -> None:
        """Stop watching and close the detector."""
        self._stop.set()
        self._look_now.set()
        self._thread.join(timeout=self._deadline_s + 1)
        self._detector.close()

    def _kept(self, answer: Future[Detections], shape: tuple[int, ...]) -> Future[Detections]:
        """An answer that counts only if the canary lives when it comes."""

        def settle(kept: Future[Detections]) -> None:
            if error := answer.exception() or self._failure:
                kept.set_exception(error)
            else:
                self._shapes.append((shape[0], shape[1]))
                kept.set_result(answer.result())

        return follow(answer, settle)

    def _watch(self) -> None:
        due_s = time.monotonic() + self._interval_s
        while not self._stop.is_set():
            self._look_now.wait(max(0.0, due_s - time.monotonic()))
            self._look_now.clear()
            if self._stop.is_set():
                return
            due_s = time.monotonic() + self._interval_s
            failure = self._look()
            if failure is not None and self._revive is not None and not self._stop.is_set():
                logger.warning("%s; starting the server again", failure)
                self._failure = failure
                self._try_to_revive(self._revive)
                failure = self._look_until_it_lives()
            with self._looked:
                if failure is not None and kind_of(str(failure)) != kind_of(str(self._failure)):
                    logger.warning("%s", failure)
                self._failure = failure
                self._looked.notify_all()
            if failure is not None and self._routes is not None:
                self._routes.renew()

    def _look(self) -> CanaryError | None:
        try:
            self._check(shape=random.choice(self._shapes) if self._shapes else None)
        except CanaryError as error:
            return error
        return None

    def _look_until_it_lives(self) -> CanaryError | None:
        # A connection takes a moment to notice that its server is back.
        deadline = time.monotonic() + RECONNECTION_S
        failure = self._look()
        while failure is not None and time.monotonic() < deadline:
            if self._stop.wait(0.2):
                break
            failure = self._look()
        return failure

    def _try_to_revive(self, revive: Callable[[], None]) -> None:
        try:
            revive()
        except FaceblurError as error:
            logger.warning("%s", error)


@cache
def check_image() -> npt.NDArray[np.uint8]:
    """The check image, (128, 128, 3) uint8 RGB.

    Raises:
        CanaryError: It is not there.
    """
    pixels = cv2.imread(str(CHECK_IMAGE))
    if pixels is None:
        raise CanaryError("the check image is missing from this installation; reinstall faceblur")
    return np.ascontiguousarray(pixels[:, :, ::-1])
