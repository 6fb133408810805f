"""Find faces in images and mask them, served by NVIDIA Triton.

    import faceblur

    with faceblur.connect() as blur:
        safe = blur(frame)          # BGR array in; safe.image and safe.detections out

A frame that could not be checked raises a `FaceblurError`; it is never returned unmasked.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faceblur.blurrer import Blurrer, Masked, connect
    from faceblur.detection.triton.connection import TLS
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
    from faceblur.masks.style import MaskStyle

# ONNX Runtime's wheel reports its use to its makers, unless this is set before it is imported, here
# or in a server that is started from here. Nothing is to leave this machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

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

_HOMES = {
    "Blurrer": "faceblur.blurrer",
    "CanaryError": "faceblur.errors",
    "DeadlineError": "faceblur.errors",
    "Detections": "faceblur.detections",
    "FaceblurError": "faceblur.errors",
    "InputError": "faceblur.errors",
    "MaskStyle": "faceblur.masks.masker",
    "Masked": "faceblur.blurrer",
    "ModelError": "faceblur.errors",
    "OutputError": "faceblur.errors",
    "ReplyError": "faceblur.errors",
    "ServerError": "faceblur.errors",
    "ServerStartError": "faceblur.errors",
    "ServerUnavailableError": "faceblur.errors",
    "TLS": "faceblur.detection.triton.connection",
    "connect": "faceblur.blurrer",
}


def __getattr__(name: str) -> object:
    """Import a name when it is first used: the processes of cameras need few of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
