"""Fit a picture into one of a few canonical network shapes, and map boxes back.

Triton batches only requests of equal shape, so cameras and files of every size are snapped to
16:9, 4:3 or square, upright or lying; a 16:9 frame at size 640 goes in as 384 × 640, not 640 × 640.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.defaults import DEFAULT_SIZE
from faceblur.detections import Detections
from faceblur.errors import InputError

PAD_VALUE = 114
"""Grey of the border, the value YOLOv5 was trained with."""

ASPECTS = (9 / 16, 3 / 4, 1.0)
"""Short side over long side of the canonical shapes."""


def canonical_shapes(*, size: int = DEFAULT_SIZE, stride: int = 32) -> tuple[tuple[int, int], ...]:
    """The network shapes (height, width) for a size, landscape ones first.

    Args:
        size: Longest side in pixels; rounded up to a multiple of `stride`.
        stride: Largest stride of the detector: 32, or 64 for P6 variants.
    """
    long = _round_up(size, stride)
    shorts = sorted({_round_up(long * aspect, stride) for aspect in ASPECTS})
    landscape = [(short, long) for short in shorts]
    portrait = [(long, short) for short in shorts if short != long]
    return tuple(landscape + portrait)


@dataclass(frozen=True)
class Letterbox:
    """How one picture size goes into one network shape.

    Attributes:
        source: Width and height of the picture, pixels.
        shape: Height and width of the canvas, pixels.
        resized: Width and height of the picture on the canvas.
        left: Grey columns before it.
        top: Grey rows before it.
    """

    source: tuple[int, int]
    shape: tuple[int, int]
    resized: tuple[int, int]
    left: int
    top: int

    @classmethod
    def plan(
        cls, width: int, height: int, *, size: int = DEFAULT_SIZE, stride: int = 32
    ) -> Letterbox:
        """Choose the smallest canonical shape that holds the picture at this size.

        Raises:
            InputError: The picture has no pixels, or the size is smaller than the stride.
        """
        if width < 1 or height < 1:
            raise InputError(f"a picture of {width} × {height} pixels has nothing to look at")
        if size < stride:
            raise InputError(f"--size {size} is too small; give at least {stride}")
        long = _round_up(size, stride)
        scale = long / max(width, height)
        resized = (max(1, round(width * scale)), max(1, round(height * scale)))
        fitting = [
            (h, w)
            for h, w in canonical_shapes(size=size, stride=stride)
            if h >= resized[1] and w >= resized[0]
        ]
        shape = min(fitting, key=lambda hw: hw[0] * hw[1])
        return cls(
            source=(width, height),
            shape=shape,
            resized=resized,
            left=(shape[1] - resized[0]) // 2,
            top=(shape[0] - resized[1]) // 2,
        )

    def resize(self, picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring a picture of the source size to the resized size; any dtype and channels."""
        # Bilinear alone aliases when it shrinks a lot, and small faces go first.
        shrinks = self.source[0] > 2 * self.resized[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized: npt.NDArray[Any] = cv2.resize(picture, self.resized, interpolation=how)
        return resized

    def apply(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resize and pad a picture.

        Args:
            picture: (H, W, 3) uint8 of the source size, or already of the resized size.

        Returns:
            (shape[0], shape[1], 3) uint8, channels as they came.
        """
        canvas = np.full((*self.shape, 3), PAD_VALUE, np.uint8)
        width, height = self.resized
        window = canvas[self.top : self.top + height, self.left : self.left + width]
        window[:] = picture if picture.shape[1::-1] == self.resized else self.resize(picture)
        return canvas

    def to_source(self, detections: Detections) -> Detections:
        """Move detections from the canvas to the picture."""
        scale = np.array(
            [self.source[0] / self.resized[0], self.source[1] / self.resized[1]], np.float32
        )
        shift = np.array([self.left, self.top], np.float32)
        return Detections(
            ((detections.boxes.reshape(-1, 2, 2) - shift) * scale).reshape(-1, 4),
            detections.scores,
            (detections.landmarks - shift) * scale,
        )


def _round_up(value: float, multiple: int) -> int:
    return int(-(-value // multiple) * multiple)
