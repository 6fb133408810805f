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

import lazy_loader

# Imported when first used, by the list in __init__.pyi: the child processes need none of them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
