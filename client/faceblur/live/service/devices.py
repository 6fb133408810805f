"""Measure what decodes and encodes before many processes start that want to know."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from faceblur.live.options import CameraOptions
from faceblur.video.hardware.choice import AUTO, choose_decoder, choose_encoder_like

logger = logging.getLogger(__name__)


def measure_devices(cameras: Iterable[CameraOptions]) -> None:
    """Measure the devices here if a camera leaves the choice to that; once, and remembered."""
    cameras = tuple(cameras)
    if any(camera.hardware_decoding == AUTO for camera in cameras):
        chosen = choose_decoder("auto", "h264")
        logger.info("H.264 is decoded by %s (%s)", chosen.name or "the CPU", chosen.why)
    if any(sink.encoder == AUTO for camera in cameras for sink in camera.sinks):
        chosen = choose_encoder_like("libx264")
        logger.info("H.264 is encoded by %s (%s)", chosen.name or "the CPU", chosen.why)
