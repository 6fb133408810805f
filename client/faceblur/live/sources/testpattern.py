"""A moving synthetic image, with a face in it if one is given."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt

from faceblur.errors import InputError

_TILE: Final = 40
_PERIOD_S: Final = 8.0
"""In which the face comes back to where it was."""

_FACE_SHARE: Final = 0.5
"""Height of the face's image as a part of the whole."""


class TestPattern:
    """Coloured tiles that drift, and an image that swings across them."""

    __test__ = False
    """Not a test, whatever its name says to pytest."""

    def __init__(self, size: tuple[int, int], *, face: Path | None = None) -> None:
        """Prepare frames of a size, width and height in pixels, across which a face swings.

        Raises:
            InputError: The image of the face cannot be read.
        """
        self._width, self._height = size
        columns, rows = self._width // _TILE + 4, self._height // _TILE + 4
        generator = np.random.default_rng(1)
        tiles = generator.integers(60, 190, (rows, columns, 3), dtype=np.uint8)
        self._tiles = np.kron(tiles, np.ones((_TILE, _TILE, 1), np.uint8))
        self._face = None if face is None else _read(face, self._height)

    def image(self, time_s: float) -> av.VideoFrame:
        """The image at a time, yuv420p."""
        x = int(_TILE * (1 + math.sin(2 * math.pi * time_s / 5)))
        y = int(_TILE * (1 + math.cos(2 * math.pi * time_s / 7)))
        pixels = self._tiles[y : y + self._height, x : x + self._width].copy()
        if self._face is not None:
            self._paste(pixels, time_s)
        cv2.putText(
            pixels, f"{time_s:.2f}", (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1
        )
        planes = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2YUV_I420), np.uint8)
        image = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        image.colorspace = 5
        image.color_range = 1
        return image

    def _paste(self, pixels: npt.NDArray[np.uint8], time_s: float) -> None:
        assert self._face is not None
        height, width = self._face.shape[:2]
        phase = 2 * math.pi * time_s / _PERIOD_S
        x = int((self._width - width) * (0.5 + 0.45 * math.sin(phase)))
        y = int((self._height - height) * (0.5 + 0.2 * math.sin(2 * phase)))
        pixels[y : y + height, x : x + width] = self._face


def _read(path: Path, height: int) -> npt.NDArray[np.uint8]:
    face = cv2.imread(str(path))
    if face is None:
        raise InputError(f"{path} is not an image that can be read")
    scale = _FACE_SHARE * height / face.shape[0]
    small = cv2.resize(face, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
