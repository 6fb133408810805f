"""A device that is none: what it would do, the CPU does in its place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest

from faceblur.video.frames import SourceFrame
from faceblur.video.options import HardwareDecoding
from faceblur.video.source import VideoSource

GONE = av.error.ExternalError(542398533, "the GPU is gone")
FRAMES = 40
CLIPS: dict[str, media.Recording] = {
    "h264": media.Recording(options={"preset": "fast", "g": "12", "bf": "3"}),
    "open.h264": media.Recording(
        options={"preset": "fast", "bf": "3", "x264-params": "open-gop=1:keyint=12"}
    ),
    "hevc": media.Recording(
        encoder="libx265",
        pixel_format="yuv420p10le",
        options={"preset": "ultrafast", "x265-params": "keyint=10:log-level=none:bframes=3"},
    ),
    "vp9": media.Recording(
        encoder="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8", "g": "15"}
    ),
    "av1": media.Recording(encoder="libsvtav1", options={"preset": "13", "g": "16"}),
}
NOW_IN_NV12 = {"yuv420p": "nv12", "yuv420p10le": "p010le"}


class StandIn:
    """A device: gives the frames of the CPU in a device's layout, and fails when told to."""

    def __init__(
        self,
        context: Any,
        *,
        fails_at: int | None = None,
        error: Exception = GONE,
        spoils: Callable[[av.VideoFrame], None] = lambda frame: None,
    ) -> None:
        self._context = context
        self._left = fails_at
        self._error = error
        self._spoils = spoils

    def decode(self, packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
        if self._left == 0:
            raise self._error
        if self._left is not None:
            self._left -= 1
        frames = []
        for frame in self._context.decode(packet):
            name = frame.format.name
            frames.append(frame.reformat(format=NOW_IN_NV12.get(name, name)))
            self._spoils(frames[-1])
        return frames


Read = list[tuple[int, str, bytes]]


def read(path: Path, hardware: HardwareDecoding) -> Read:
    """Time, format and samples of each frame."""
    with VideoSource(path, hardware=hardware) as source:
        frames = [item for item in source.read() if isinstance(item, SourceFrame)]
    return [(f.pts, f.image.format.name, f.image.to_ndarray().tobytes()) for f in frames]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def another_sample(frame: av.VideoFrame) -> None:
    samples = np.frombuffer(memoryview(frame.planes[0]), np.uint8).copy()
    samples[100] ^= 1
    frame.planes[0].update(samples.tobytes())
