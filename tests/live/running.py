"""Cameras that run in tests, and waiting for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

import numpy as np
import numpy.typing as npt
from doubles import OneByOne

from faceblur.detection.detector import ModelInfo
from faceblur.detections import Detections
from faceblur.live import Camera, CameraStats
from rig.clips import FPS, PORTRAIT

SIZE = (320, 240)
PATTERN = f"testpattern:?size={SIZE[0]}x{SIZE[1]}&fps={FPS}&face={PORTRAIT}"


class Run(Protocol):
    """Starts a camera from a source to sinks; settings are those of `CameraOptions`."""

    def __call__(self, source: str = PATTERN, *sinks: str, **settings: object) -> Camera: ...


PATIENCE_S = 40.0


def until(camera: Camera, reached: Callable[[CameraStats], bool]) -> CameraStats:
    """Wait until a camera's counters say so."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not reached(camera.stats()) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    stats = camera.stats()
    assert reached(stats), stats
    return stats


def shown(count: int) -> Callable[[CameraStats], bool]:
    return lambda stats: stats.sinks[0].frames >= count and stats.frames_checked >= count


class Sightless(OneByOne):
    """A detector that answers, and never finds anything: what every mask protects from."""

    model = ModelInfo("sightless", "")

    def submit_one(
        self, model_input: npt.NDArray[np.uint8], *, min_score: float
    ) -> Future[Detections]:
        future: Future[Detections] = Future()
        future.set_result(Detections.empty())
        return future

    def close(self) -> None: ...
