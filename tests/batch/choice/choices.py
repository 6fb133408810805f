"""A list of faces that somebody edits, and the images that come of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from click.testing import Result
from probing import decoded

Array = npt.NDArray[Any]
Run = Callable[..., Result]

ROOT = Path(__file__).resolve().parents[3]
FRAMES = 20
LOSSLESS = ("--encoder", "ffv1", "--mask", "solid")
ZONE = "200,5 300,10 250,45"
TIMES = [round(40 * i / 1000, 3) for i in range(FRAMES)]


def edited(boxes: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    content = json.loads(boxes.read_text())
    change(content)
    path = boxes.with_name("edited.json")
    path.write_text(json.dumps(content))
    return path


def images(path: Path) -> list[Array]:
    return decoded(path, pixel_format="bgr24")


def in_zone() -> Array:
    """Pixels of the zone, but for those at its edges."""
    corners = np.array([[200, 5], [300, 10], [250, 45]], np.int32)
    inside = np.zeros((180, 320), np.uint8)
    cv2.fillPoly(inside, [corners], 1)
    return cv2.erode(inside, np.ones((3, 3))).astype(bool)
