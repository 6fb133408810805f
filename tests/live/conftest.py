"""Fixtures of live cameras."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from running import LIMIT_S, PATTERN, SIZE, Run
from scheduler_bench import Bench

from faceblur.detection import models
from faceblur.detection.detector import Detector
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.options import DetectionOptions
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.live import (
    Camera,
    CameraOptions,
    SinkOptions,
    SourceOptions,
    parse_sink,
    parse_source,
)
from faceblur.live.sharding.permit import Permit
from faceblur.masks.policy import Policy
from rig.clips import encode_clip
from rig.rtsp import MISSING, is_available


@pytest.fixture(scope="session")
def detector() -> Iterator[InProcessDetector]:
    """The bundled model in this process: nothing about servers is tested with it."""
    onnx, model = models.find(BUNDLED_MODEL)
    opened = InProcessDetector(onnx, model=model, threads=1)
    yield opened
    opened.close()


@pytest.fixture
def run(detector: InProcessDetector) -> Iterator[Run]:
    """Start cameras that are stopped when the test ends; their limits are wide unless given."""
    cameras: list[Camera] = []

    def start(
        source: str = PATTERN,
        *sinks: str,
        name: str = "door",
        detector: Detector = detector,
        permit: Permit | None = None,
        **settings: object,
    ) -> Camera:
        options: dict[str, object] = {
            "policy": Policy(detection=DetectionOptions(size=320)),
            "deadline_s": LIMIT_S,
            "lookahead": 0,
            **settings,
        }
        camera = Camera(
            CameraOptions(
                name=name,
                source=options.pop("options", None) or _patient_source(source),
                sinks=options.pop("sinks", None) or tuple(map(_patient_sink, sinks or ("null",))),
                **options,
            ),
            detector,
            permit=permit,
        )
        camera.start()
        cameras.append(camera)
        return camera

    yield start
    for camera in cameras:
        camera.stop()


def _patient_source(text: str) -> SourceOptions:
    return replace(parse_source(text), open_timeout_s=LIMIT_S, stall_timeout_s=LIMIT_S)


def _patient_sink(text: str) -> SinkOptions:
    return replace(parse_sink(text), open_timeout_s=LIMIT_S, write_timeout_s=LIMIT_S)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A scheduler with a detector that the test answers for."""
    made = Bench()
    yield made
    made.checker.close()


@pytest.fixture(scope="session")
def rtsp() -> None:
    """A skip where there is no RTSP server."""
    if not is_available():
        pytest.skip(MISSING)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds of a moving face, encoded."""
    return encode_clip(tmp_path_factory.mktemp("clip") / "face.h264", size=SIZE, frames=80)
