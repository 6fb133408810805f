"""Share one detector and the memory between files that are masked at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final

from faceblur.detection.detector import Detector, ModelInfo, ModelInput
from faceblur.detections import Detections
from faceblur.errors import FaceblurError

_POLL_S: Final = 0.1


class StoppedError(FaceblurError):
    """The batch was broken off before this file was finished."""


def check_going(stop: threading.Event) -> None:
    """Let a file go on.

    Raises:
        StoppedError: The batch was broken off.
    """
    if stop.is_set():
        raise StoppedError("interrupted before it was finished")


class SharedDetector:
    """A detector for several files at once, with one bound on the requests under way.

    Args:
        detector: What finds the faces. It is not closed with this object.
        in_flight: Requests that it is given at once, at most, by all files together.
        stop: When it is set, every file under way fails at its next frame.
    """

    def __init__(self, detector: Detector, *, in_flight: int, stop: threading.Event) -> None:
        self._detector = detector
        self._stop = stop
        self._room = in_flight
        self._paused = False
        self._changed = threading.Condition()

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""
        return self._detector.model

    def submit(self, inputs: Sequence[ModelInput], *, min_score: float) -> list[Future[Detections]]:
        """Start the detection, when there is room; see `faceblur.detection.detector.Detector`.

        Raises:
            StoppedError: The batch was broken off.
        """
        with self._changed:
            # Each request under way has its deadline, so there will be room.
            while self._paused or self._room == 0:
                self._changed.wait(_POLL_S)
                check_going(self._stop)
            check_going(self._stop)
            self._room -= 1
        try:
            answers = self._detector.submit(inputs, min_score=min_score)
        except BaseException:
            self._give_room()
            raise
        left = len(answers)

        def release(_: Future[Detections]) -> None:
            nonlocal left
            with self._changed:
                left -= 1
                if not left:
                    self._give_room()

        for answer in answers:
            answer.add_done_callback(release)
        return answers

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let new frames wait while the block runs."""
        with self._changed:
            self._paused = True
        try:
            yield
        finally:
            with self._changed:
                self._paused = False
                self._changed.notify_all()

    def close(self) -> None:
        """Nothing: its opener closes the detector."""

    def _give_room(self) -> None:
        with self._changed:
            self._room += 1
            self._changed.notify()
