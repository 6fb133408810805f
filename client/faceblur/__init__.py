"""Find faces in pictures and mask them beyond recognition, served by NVIDIA Triton.

    import faceblur

    with faceblur.connect() as blur:
        safe = blur(frame)          # BGR array in; safe.image and safe.detections out

A frame that could not be checked raises a `FaceblurError`; it is never returned unmasked.
"""

from __future__ import annotations

from faceblur.blurrer import Blurrer, Masked, connect
from faceblur.connection import TLS
from faceblur.detections import Detections
from faceblur.errors import (
    CanaryError,
    DeadlineError,
    FaceblurError,
    InputError,
    ModelError,
    OutputError,
    ReplyError,
    ServerError,
    ServerStartError,
    ServerUnavailableError,
)
from faceblur.masks import MaskStyle

__all__ = [
    "TLS",
    "Blurrer",
    "CanaryError",
    "DeadlineError",
    "Detections",
    "FaceblurError",
    "InputError",
    "MaskStyle",
    "Masked",
    "ModelError",
    "OutputError",
    "ReplyError",
    "ServerError",
    "ServerStartError",
    "ServerUnavailableError",
    "connect",
]
