"""A detector that answers as it is told, and videos masked by what it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from doubles import OneByOne
from media import Box

from faceblur.batch.faces import DetectedFaces
from faceblur.batch.video import Progress, mask_video
from faceblur.detection.detector import ModelInfo
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import DetectionOptions
from faceblur.detections import Detections, MediaDetections
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.tracking.options import TrackingOptions
from faceblur.video.options import VideoOptions

BLACK = MaskStyle(mode="solid", shape="box", expand=0)
SIZE = 320
LOSSLESS = VideoOptions(encoder="ffv1")
Answer = Callable[[int], Detections]


class Oracle(OneByOne):
    """Answers with what it is told for each frame, after a while, on threads of its own.

    Args:
        answer: What it says of a frame, by its number.
        delays_s: After how long.
        at_once: Nothing is answered before so many are asked about at once.
    """

    model = ModelInfo("oracle", "0" * 64)

    def __init__(
        self, answer: Answer, *, delays_s: Callable[[int], float] = lambda i: 0, at_once: int = 0
    ) -> None:
        self.seen: list[npt.NDArray[np.uint8]] = []
        self.waiting = self.most_waiting = 0
        self._answer = answer
        self._delays_s = delays_s
        self._pool = ThreadPoolExecutor(8)
        self._at_once = at_once
        self._lock = threading.Condition()

    def submit_one(self, canvas: npt.NDArray[np.uint8], *, min_score: float) -> Future[Detections]:
        with self._lock:
            index = len(self.seen)
            self.seen.append(canvas)
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
            self._lock.notify_all()
        return self._pool.submit(self._work, index)

    def _work(self, index: int) -> Detections:
        try:
            with self._lock:
                assert self._lock.wait_for(lambda: self.most_waiting >= self._at_once, 60)
            time.sleep(self._delays_s(index))
            return self._answer(index)
        finally:
            with self._lock:
                self.waiting -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def nothing(index: int) -> Detections:
    return Detections.empty()


def knows(boxes: list[Box], letterbox: Letterbox) -> Answer:
    """Answers with a box of the image, in pixels of the canvas."""

    def answer(index: int) -> Detections:
        scale = np.array(letterbox.resized) / letterbox.source
        corners = boxes[index].reshape(2, 2) * scale + (letterbox.left, letterbox.top)
        return Detections(
            corners.reshape(1, 4).astype(np.float32),
            np.full(1, 0.9, np.float32),
            np.zeros((1, 5, 2), np.float32),
        )

    return answer


def run(
    source: Path,
    output: Path,
    answer: Answer = nothing,
    *,
    oracle: Oracle | None = None,
    options: VideoOptions = LOSSLESS,
    in_flight: int = 4,
    detect_every: int = 1,
    deadline_s: float = 60,
    on_progress: Callable[[Progress], None] | None = None,
) -> MediaDetections:
    detection = DetectionOptions(size=SIZE, deadline_s=deadline_s)
    cover = TrackingOptions(detect_every=detect_every)
    policy = Policy(mask=BLACK, detection=detection, cover=cover)
    return mask_video(
        source,
        output,
        find_faces=DetectedFaces(oracle or Oracle(answer), policy, in_flight=in_flight),
        policy=policy,
        on_progress=on_progress,
        options=options,
    )


def left_alone(folder: Path, *names: str) -> bool:
    """Whether the files are the only ones there, hidden ones included."""
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


def slices(box: npt.ArrayLike) -> tuple[slice, slice]:
    """The pixels that lie wholly in a box."""
    x1, y1, x2, y2 = np.asarray(box, float)
    return (
        slice(max(0, int(np.ceil(y1))), max(0, int(y2))),
        slice(max(0, int(np.ceil(x1))), max(0, int(x2))),
    )


def settles(condition: Callable[[], bool]) -> bool:
    """Whether something becomes true soon, however busy the machine is."""
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()
