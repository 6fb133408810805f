"""Measure what decodes and encodes before many processes start that want to know."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from faceblur.live.options import CameraOptions
from faceblur.video.hardware.choice import (
    AUTO,
    MeasurementEndedError,
    choose_decoder,
    choose_encoder_like,
    end_measurement,
)

logger = logging.getLogger(__name__)

_END_S: Final = 1.0


def wants_measurement(cameras: Iterable[CameraOptions]) -> bool:
    """Whether a camera leaves to a measurement what decodes or encodes."""
    return any(
        camera.hardware_decoding == AUTO or any(sink.encoder == AUTO for sink in camera.sinks)
        for camera in cameras
    )


def measure_devices(cameras: Iterable[CameraOptions]) -> None:
    """Measure the devices here if a camera leaves the choice to that; once, and remembered."""
    cameras = tuple(cameras)
    if any(camera.hardware_decoding == AUTO for camera in cameras):
        chosen = choose_decoder("auto", "h264")
        logger.info("H.264 is decoded by %s (%s)", chosen.name or "the CPU", chosen.why)
    if any(sink.encoder == AUTO for camera in cameras for sink in camera.sinks):
        chosen = choose_encoder_like("libx264")
        logger.info("H.264 is encoded by %s (%s)", chosen.name or "the CPU", chosen.why)


class DeviceMeasurer:
    """Measures in a thread of its own, for somebody who cannot wait; one measurement at a time.

    Args:
        done: Called in that thread whenever `is_busy` has become false.
    """

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done
        self._thread: threading.Thread | None = None

    @property
    def is_busy(self) -> bool:
        """Whether it measures."""
        return self._thread is not None

    def begin(self, cameras: Iterable[CameraOptions]) -> None:
        """Measure for cameras, unless it measures already: that is the same for all."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=(tuple(cameras),), name="faceblur-measure", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """End what it does, without a result."""
        thread = self._thread
        end_s = time.monotonic() + _END_S
        # It may not have begun yet with what can be ended.
        while thread is not None and thread.is_alive() and time.monotonic() < end_s:
            end_measurement()
            thread.join(0.05)

    def _run(self, cameras: tuple[CameraOptions, ...]) -> None:
        try:
            measure_devices(cameras)
        except MeasurementEndedError:
            logger.info("the measurement of what decodes was ended")
        except Exception:
            # Whoever finds no measurement decodes on the CPU.
            logger.exception("what decodes here cannot be measured")
        self._thread = None
        self._done()
