"""Images of noise and of faces, and masks on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from skimage import data

from faceblur.detections import Detections
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface

Array = npt.NDArray[Any]
Box = tuple[float, float, float, float]

FACE: Box = (172, 64, 292, 214)
"""The astronaut's."""
EVERY_MODE = ["veil", "blur", "pixelate", "solid", "image"]
OVERLAY = np.zeros((8, 8, 3), np.uint8)


def found(*boxes: Box) -> Detections:
    rows = np.zeros((len(boxes), 15), np.float32)
    rows[:, :4] = np.reshape(boxes, (-1, 4))
    return Detections.from_rows(rows)


def masked(pixels: Array, *boxes: Box, **style: Any) -> Array:
    result = pixels.copy()
    Masker(MaskStyle(**style)).apply(ArraySurface(result), found(*boxes))
    return result


def noise(height: int, width: int, channels: int = 3, dtype: Any = np.uint8) -> Array:
    # Green is never 0, so that magenta tells what was masked.
    values = np.random.default_rng(0).integers(1, 256, (height, width, channels))
    return values.astype(dtype)


def photo() -> Array:
    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


def inside_ellipse(height: int, width: int, box: Box) -> Array:
    """Pixels whose centre lies in the ellipse inscribed in a box."""
    y, x = np.mgrid[:height, :width] + 0.5
    x0, y0, x1, y1 = box
    return (2 * x - x0 - x1) ** 2 / (x1 - x0) ** 2 + (2 * y - y0 - y1) ** 2 / (y1 - y0) ** 2 <= 1


boxes = st.tuples(
    st.floats(-40, 120, width=32),
    st.floats(-40, 90, width=32),
    st.floats(0.5, 90, width=32),
    st.floats(0.5, 90, width=32),
).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
