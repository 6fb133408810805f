"""Cameras that run in tests, and waiting for what they do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Protocol

import av
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


PATIENCE_S: Final = 90.0
"""For what has to come on a machine that is busy."""

LIMIT_S: Final = 20.0
"""Of cameras whose limits are not what is tested: a machine that is held up keeps to it."""


def until(camera: Camera, reached: Callable[[CameraStats], object]) -> CameraStats:
    """Wait until a camera's counters say so; those that do."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not reached(stats := camera.stats()):
        assert time.monotonic() < deadline_s, stats
        time.sleep(0.05)
    return stats


def finish(camera: Camera) -> CameraStats:
    """Stop a camera whose sinks take all the time that they need to write what they hold."""
    camera.stop(timeout_s=PATIENCE_S)
    return camera.stats()


def shown(count: int) -> Callable[[CameraStats], bool]:
    return lambda stats: stats.sinks[0].frames >= count and stats.frames_checked >= count


def readable(*files: Path) -> int:
    """How many frames of files can be read at this moment; they may be being written."""
    frames = 0
    for file in files:
        with contextlib.suppress(av.error.FFmpegError, IndexError), av.open(str(file)) as container:
            for _ in container.decode(video=0):
                frames += 1
    return frames


def received(folder: Path) -> Iterator[av.VideoFrame]:
    """The frames that a server has recorded; who publishes may leave in the middle of the last."""
    for file in sorted(path for path in folder.iterdir() if path.stat().st_size):
        with av.open(str(file)) as container:
            packets = list(container.demux(video=0))
            # The very last packet is empty.
            for number, packet in enumerate(packets):
                try:
                    yield from packet.decode()
                except av.error.InvalidDataError:
                    assert number == len(packets) - 2, f"{file} is broken in the middle"


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
