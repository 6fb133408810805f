"""GPUs that are none, and what their trial would have answered."""

from __future__ import annotations

import logging

import pytest

from faceblur.detection.gpu.probe import Answer
from faceblur.detection.repository import shipped_onnx
from faceblur.gpus import Gpu

CPU = "CPUExecutionProvider"
FAST = shipped_onnx("fast")
GPUS = (Gpu(0, "Test GPU", "580.1", 16 << 30), Gpu(1, "Test GPU", "580.1", 16 << 30))
ANSWER = Answer(
    provider=CPU, batch=4, full_from=3, instances=2, images_per_s={"4": 1.0}, decoding_s=0.001
)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.levelno >= logging.WARNING]
