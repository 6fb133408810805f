"""Live cameras: frames come in, masked frames go out, for ever, and nothing else does.

    source process      read → decode → reduce for the detector ─┐ shared memory
    camera's thread         ask the detector → cover over time → mask in place ─┐ shared memory
    sink processes                                     encode → write, each with a deadline

A process drives any number of cameras, each a thread of it, with one detector for all of them.
Whatever can hang (a network, a device, a decoder fed with garbage) lives in a child process of its
own, watched and restarted from outside, so that it slows neither the camera nor its neighbours.

Newest wins: at most two frames of a camera are with the detector; while it is busy, a newer frame
replaces the one that waits. Nothing queues up, so a slow server costs frames, not delay.

Only a `SafeFrame` can be given to a sink, and there are two ways to make one: from a frame that
was checked by masking it, or as a placeholder, without anything of the source. When frames cannot
be checked (`degraded`) or none come (`offline`), placeholders go out at the camera's pace until it
recovers by itself.

    options = CameraOptions(
        name="door", source=parse_source("rtsp://…"), sinks=(parse_sink("rtsp://…"),)
    )
    with ReconnectingDetector(SessionOptions()) as detector:
        camera = Camera(options, detector)
        camera.start()
        ...
        camera.stats()
        camera.stop()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faceblur.live.camera import Camera
    from faceblur.live.detector import ReconnectingDetector
    from faceblur.live.options import CameraOptions
    from faceblur.live.sinks.options import SinkOptions, parse_sink
    from faceblur.live.sources.options import SourceOptions, parse_source
    from faceblur.live.stats import CameraState, CameraStats, DelayStats, SinkState, SinkStats
    from faceblur.redaction import RedactingFilter, redact

__all__ = [
    "Camera",
    "CameraOptions",
    "CameraState",
    "CameraStats",
    "DelayStats",
    "ReconnectingDetector",
    "RedactingFilter",
    "SinkOptions",
    "SinkState",
    "SinkStats",
    "SourceOptions",
    "parse_sink",
    "parse_source",
    "redact",
]

_HOMES = {
    "Camera": "faceblur.live.camera",
    "CameraOptions": "faceblur.live.options",
    "CameraState": "faceblur.live.stats",
    "CameraStats": "faceblur.live.stats",
    "DelayStats": "faceblur.live.stats",
    "ReconnectingDetector": "faceblur.live.detector",
    "RedactingFilter": "faceblur.redaction",
    "SinkOptions": "faceblur.live.sinks.options",
    "SinkState": "faceblur.live.stats",
    "SinkStats": "faceblur.live.stats",
    "SourceOptions": "faceblur.live.sources.options",
    "parse_sink": "faceblur.live.sinks.options",
    "parse_source": "faceblur.live.sources.options",
    "redact": "faceblur.redaction",
}


def __getattr__(name: str) -> object:
    """Import a name when it is first used: the child processes need none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
