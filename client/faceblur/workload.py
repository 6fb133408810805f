"""Share one detector and the memory between files that are masked at the same time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final

from faceblur.detections import Detections
from faceblur.detector import Canvas, Detector, ModelInfo, submit_batch
from faceblur.errors import FaceblurError, InputError
from faceblur.image_decoding import opened, reading
from faceblur.jobs import Job

BUDGET_BYTES: Final = 2 << 30
"""What the files under way may take together; one that takes more is masked alone."""

_VIDEO_BYTES: Final = 1 << 30
"""Frames held back for the cover (512 MB at most), and those in an encoder."""

_PIXEL_BYTES: Final = 20
"""Of a picture: decoded, reduced, masked, and once more while it is encoded."""

MAX_WORKERS: Final = 8
"""More than that wait for the detector and the disk."""

_POLL_S: Final = 0.1


class StoppedError(FaceblurError):
    """The batch was broken off before this file was finished."""


def default_workers() -> int:
    """How many files to mask at the same time: two for each core, as they wait for the disk too."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(2 * (cores or 1), MAX_WORKERS)


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

    def submit(self, canvas: Canvas, *, min_score: float) -> Future[Detections]:
        """Start looking for faces, when there is room; see `faceblur.detector.Detector`.

        Raises:
            StoppedError: The batch was broken off.
        """
        return self._submit(lambda: [self._detector.submit(canvas, min_score=min_score)])[0]

    def submit_batch(
        self, canvases: Sequence[Canvas], *, min_score: float
    ) -> list[Future[Detections]]:
        """Start looking for faces, when there is room; see `faceblur.detector.BatchDetector`.

        Raises:
            StoppedError: The batch was broken off.
        """
        return self._submit(lambda: submit_batch(self._detector, canvases, min_score=min_score))

    def _submit(self, ask: Callable[[], list[Future[Detections]]]) -> list[Future[Detections]]:
        with self._changed:
            # Each request under way has its deadline, so there will be room.
            while self._paused or self._room == 0:
                self._changed.wait(_POLL_S)
                check_going(self._stop)
            check_going(self._stop)
            self._room -= 1
        try:
            answers = ask()
        except BaseException:
            self._give_room()
            raise
        left = len(answers)

        def answered(_: Future[Detections]) -> None:
            nonlocal left
            with self._changed:
                left -= 1
                if not left:
                    self._give_room()

        for answer in answers:
            answer.add_done_callback(answered)
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
        """Nothing: whoever opened the detector closes it."""

    def _give_room(self) -> None:
        with self._changed:
            self._room += 1
            self._changed.notify()


class MemoryBudget:
    """Lets files begin while there is room for them.

    Args:
        total_bytes: What they may take together.
    """

    def __init__(self, total_bytes: int = BUDGET_BYTES) -> None:
        self._total = total_bytes
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def room_for(self, size_bytes: int) -> Iterator[None]:
        """Wait for room, and keep it while the block runs. What is too large runs alone."""
        size_bytes = min(size_bytes, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._used + size_bytes <= self._total)
            self._used += size_bytes
        try:
            yield
        finally:
            with self._changed:
                self._used -= size_bytes
                self._changed.notify_all()


def memory_bytes(job: Job) -> int:
    """About how much memory it takes to mask a file; 0 for one that cannot be opened."""
    if job.kind == "video":
        return _VIDEO_BYTES
    try:
        with reading(job.source), opened(job.source) as image:
            if image is None:
                return job.source.stat().st_size * _PIXEL_BYTES
            # All frames of an animation are encoded at once, pages of a document one at a time.
            pages = 1 if image.format == "TIFF" else getattr(image, "n_frames", 1)
            return int(image.width * image.height * pages * _PIXEL_BYTES)
    except InputError:
        return 0
