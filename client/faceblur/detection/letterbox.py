"""Fit an image into one of a few canonical network shapes, and map boxes back.

Triton batches only requests of equal shape, so cameras and files of every size are snapped to
16:9, 4:3 or square, upright or lying; a 16:9 frame at size 640 goes in as 384 × 640, not 640 × 640.

The geometry is that of `model_repository/jpeg_letterbox/1/letterboxing.py`, which Triton uses for
images that come to it as JPEG; there is no second one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.detection import decoding as postprocess
from faceblur.detection.options import DEFAULT_SIZE
from faceblur.detection.repository import load_code
from faceblur.detections import Detections
from faceblur.errors import InputError

if TYPE_CHECKING:
    import letterboxing
else:
    letterboxing = load_code("jpeg_letterbox", "letterboxing")

PAD_VALUE: int = letterboxing.PAD_VALUE
"""Grey of the border, the value YOLOv5 was trained with."""


def canonical_shapes(*, size: int = DEFAULT_SIZE, stride: int = 32) -> tuple[tuple[int, int], ...]:
    """The network shapes (height, width) for a size, landscape ones first.

    Args:
        size: Longest side in pixels; rounded up to a multiple of `stride`.
        stride: Largest stride of the detector: 32, or 64 for P6 variants.
    """
    return letterboxing.canonical_shapes(size=size, stride=stride)


def rounded_size(size: int, *, stride: int) -> int:
    """The longest side of the canvases of a size, pixels."""
    return max(max(shape) for shape in canonical_shapes(size=size, stride=stride))


def stretching(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """What brings an image (h, w, 3) that uses little of its range to all of it, as 256 values.

    None for one that uses enough.
    """
    curve: npt.NDArray[np.uint8] | None = letterboxing.stretching(image)
    return curve


@dataclass(frozen=True)
class Letterbox:
    """How one image size goes into one network shape.

    Attributes:
        source: Width and height of the image, pixels.
        shape: Height and width of the canvas, pixels.
        resized: Width and height of the image on the canvas.
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
        """Choose the smallest canonical shape that holds the image at this size.

        Raises:
            InputError: The image has no pixels, or the size is smaller than the stride.
        """
        if width < 1 or height < 1:
            raise InputError(f"an image of {width} × {height} pixels has nothing to detect")
        if size < stride:
            raise InputError(f"--size {size} is too small; give at least {stride}")
        (placement,) = letterboxing.place([(width, height)], size=size, stride=stride)
        return cls((width, height), *placement)

    def resize(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring an image of the source size to the resized size; any dtype and channels."""
        averages = letterboxing.averages(self.source[0], self.resized[0])
        how = cv2.INTER_AREA if averages else cv2.INTER_LINEAR
        resized: npt.NDArray[Any] = cv2.resize(image, self.resized, interpolation=how)
        return resized

    def apply(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resize and pad an image; one that uses little of its range is given all of it.

        Args:
            image: (H, W, 3) uint8 of the source size, or already of the resized size.

        Returns:
            (shape[0], shape[1], 3) uint8, channels as they came.
        """
        resized = image if image.shape[1::-1] == self.resized else self.resize(image)
        return self.place(resized, stretching(resized))

    def place(
        self, resized: npt.NDArray[np.uint8], curve: npt.NDArray[np.uint8] | None
    ) -> npt.NDArray[np.uint8]:
        """Pad a part of an image, whose range the whole decides about.

        Args:
            resized: (h, w, 3) uint8 of the resized size.
            curve: What `stretching` gave for the whole.

        Returns:
            (shape[0], shape[1], 3) uint8, channels as they came.
        """
        shown = resized if curve is None else np.asarray(cv2.LUT(resized, curve), np.uint8)
        canvas: npt.NDArray[np.uint8] = letterboxing.paste(shown, self.shape, self.left, self.top)
        return canvas

    def to_source(self, detections: Detections) -> Detections:
        """Move detections from the canvas to the image."""
        mapping = letterboxing.mapping(self.source, self.resized, self.left, self.top)
        return Detections.from_rows(postprocess.to_image(detections.rows(), mapping))
