"""YOLOv5-face in plain PyTorch, compatible with the state dicts of the official checkpoints."""

from __future__ import annotations

from faceblur_export.network.model import Head, YOLOv5Face, build
from faceblur_export.network.variants import VARIANTS

__all__ = ["VARIANTS", "Head", "YOLOv5Face", "build"]
