"""Cameras of a fleet that do what a test says."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import numpy.typing as npt
from doubles import OneByOne

from faceblur.detection.detector import ModelInfo
from faceblur.detection.session import DetectionSession, SessionOptions
from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur.live.options import CameraOptions
from faceblur.live.sinks.options import parse_sink
from faceblur.live.sources.options import parse_source
from faceblur.live.stats import CameraState, CameraStats, DelayMeter, SinkStats


class Detector(OneByOne):
    """Never asked: these cameras detect nothing."""

    model = ModelInfo("none", "")

    def submit_one(
        self, model_input: npt.NDArray[np.uint8], *, min_score: float
    ) -> Future[Detections]:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


class FakeCamera:
    """Does what the test says."""

    def __init__(self, options: CameraOptions, detector: object) -> None:
        self.options = options
        self.state: CameraState = "starting"
        self.failed = self.has_ended = False
        self.idle_s = 0.0
        self.stop_takes_s = 0.0
        self.stopped_with: float | None = None

    def start(self) -> None:
        self.state = "running"

    def stop(self, *, timeout_s: float = 5.0) -> None:
        time.sleep(self.stop_takes_s)
        self.stopped_with, self.state = timeout_s, "stopped"

    def wait(self, timeout_s: float | None = None) -> bool:
        return self.has_ended

    def stats(self) -> CameraStats:
        return stats(self.options.name, state=self.state)


def stats(name: str, *, state: CameraState = "running", error: str = "") -> CameraStats:
    meter = DelayMeter()
    meter.add(0.1)
    sink = SinkStats(label="hls:x", state="running", frames=9, dropped=0, restarts=0,
                     delay=meter.stats(), last_error="")  # fmt: skip
    return CameraStats(
        name=name, state=state, source="rtsp://***@host/x", width=640, height=360, fps=14.96,
        lookahead_s=0.33,
        frames_in=12, frames_checked=9, frames_masked=5, frames_dropped=1, frames_held=2,
        frames_placeholder=2, frames_out=11, faces=7, reconnects=3, delay=meter.stats(),
        sinks=(sink,), last_error=error, state_since_s=4.0,
    )  # fmt: skip


def camera(name: str, **settings: Any) -> CameraOptions:
    return CameraOptions(
        name=name, source=parse_source("testpattern"), sinks=(parse_sink("null"),), **settings
    )


class Opened:
    """Remembers the cameras that a fleet has opened."""

    def __init__(self) -> None:
        self.all: list[FakeCamera] = []
        self.refuse = 0

    def __call__(self, options: CameraOptions, detector: object) -> FakeCamera:
        if self.refuse:
            self.refuse -= 1
            raise InputError("its mask cannot be read")
        self.all.append(FakeCamera(options, detector))
        return self.all[-1]

    def of(self, name: str) -> list[FakeCamera]:
        return [each for each in self.all if each.options.name == name]


def refuses(_: SessionOptions) -> DetectionSession:
    raise OSError("too many open files")


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)
