"""Find faces in images and mask them, served by NVIDIA Triton.

    import faceblur

    faceblur.blur("photo.jpg", "safe.jpg")
    faceblur.blur_video("clip.mp4", "safe.mp4")
    safe = faceblur.blur(frame)     # BGR array in; safe.image and safe.detections out
    faces = faceblur.detect(frame)  # their boxes, scores and landmarks

These share a server for images and one for videos, which end with the process. One of your own
choice, or for a while:

    with faceblur.connect("gpu-box:8001") as blur:
        safe = blur(frame)

A frame that could not be checked raises a `FaceblurError`; it is never returned unmasked.
"""

from __future__ import annotations

import os

import lazy_loader

# ONNX Runtime's wheel reports its use to its makers, unless this is set before it is imported, here
# or in a server that is started from here. Nothing is to leave this machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# The public names and their homes are in __init__.pyi. Each is imported when it is first used: the
# processes of cameras need few of them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
