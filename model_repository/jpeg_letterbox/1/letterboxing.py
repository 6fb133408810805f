"""Where an image lies in the model input: the one implementation.

It lives in the model repository because Triton runs it where the faceblur package is not
installed; the package loads it from here. numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

PAD_VALUE = 114
"""Grey of the border, the value YOLOv5 was trained with."""

BORDER_NOISE = 2
"""Levels by which that grey may differ after JPEG."""

LOW_RANGE = 96
"""An image that uses fewer of the 256 levels is stretched; ordinary ones use more."""

MAX_GAIN = 20.0
"""Stretching is limited to this, or the noise of an empty image would look like something."""

OUTLIERS = 0.0005
"""Share of the values at each end that may be clipped: less than a face of 16 pixels."""

SAMPLED_SIDE = 128
"""Pixels of the longest side that are read to find the range."""

ASPECTS = (9 / 16, 3 / 4, 1.0)
"""Short side over long side of the canonical shapes."""


class Placement(NamedTuple):
    """How one image size goes into a model input.

    Attributes:
        shape: Height and width of the model input, pixels.
        resized: Width and height of the image in the model input.
        left: Grey columns before it.
        top: Grey rows before it.
    """

    shape: tuple[int, int]
    resized: tuple[int, int]
    left: int
    top: int


def canonical_shapes(*, size: int, stride: int) -> tuple[tuple[int, int], ...]:
    """The model inputs (height, width) for a size, landscape ones first.

    Args:
        size: Longest side in pixels; rounded up to a multiple of `stride`.
        stride: Largest stride of the detector: 32, or 64 for P6 variants.
    """
    long = _round_up(size, stride)
    shorts = sorted({_round_up(long * aspect, stride) for aspect in ASPECTS})
    landscape = [(short, long) for short in shorts]
    portrait = [(long, short) for short in shorts if short != long]
    return tuple(landscape + portrait)


def place(images: Sequence[tuple[int, int]], *, size: int, stride: int) -> list[Placement]:
    """Put images into the smallest canonical model input that holds every one of them.

    Args:
        images: Width and height of each, pixels.
        size: Longest side of the model input; rounded up to a multiple of `stride`.
        stride: Largest stride of the detector.

    Returns:
        A placement for each, all with the same shape, centred.
    """
    long = _round_up(size, stride)
    resized = []
    for width, height in images:
        scale = long / max(width, height)
        resized.append((max(1, round(width * scale)), max(1, round(height * scale))))
    across, down = (max(sides) for sides in zip(*resized, strict=True))
    fitting = [
        (h, w) for h, w in canonical_shapes(size=size, stride=stride) if h >= down and w >= across
    ]
    shape = min(fitting, key=lambda hw: hw[0] * hw[1])
    return [
        Placement(shape, (width, height), (shape[1] - width) // 2, (shape[0] - height) // 2)
        for width, height in resized
    ]


def averages(width: int, resized_width: int) -> bool:
    """Whether areas are averaged: bilinear alone aliases when it shrinks a lot."""
    return width > 2 * resized_width


def stretching(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """What brings an image that uses little of its range to all of it: fog, dark, low contrast.

    Nothing that shows is clipped: a small bright face in the dark counts as range that is used.

    Args:
        image: (h, w, 3) uint8; the grey of a border does not count.

    Returns:
        The new value of each of the 256, uint8; None for an image that needs none.
    """
    step = max(1, max(image.shape[:2]) // SAMPLED_SIDE)
    # Most images use nearly all of their range, which a few of their pixels show.
    low, high = _range(image[:: 4 * step, :: 4 * step])
    if high - low >= (LOW_RANGE + 255) // 2:
        return None
    seen = image[::step, ::step].reshape(-1, 3)
    low, high = _range(seen)
    if high - low >= LOW_RANGE:
        return None
    border = (np.abs(seen.astype(np.int16) - PAD_VALUE) <= BORDER_NOISE).all(axis=1)
    low, high = _range(seen[~border])
    if not 0 < high - low < LOW_RANGE:
        return None
    gain = min(255 / (high - low), MAX_GAIN)
    values = (np.arange(256) - (low + high) / 2) * gain + 127.5
    curve: npt.NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return curve


def _range(pixels: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """The lowest and the highest of the values, less the outliers."""
    counts = np.cumsum(np.bincount(pixels.reshape(-1), minlength=256))
    low, high = np.searchsorted(counts, (OUTLIERS * counts[-1], (1 - OUTLIERS) * counts[-1]))
    return int(low), int(high)


def stretched(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The image with all of its range used, see `stretching`; itself where it uses enough."""
    curve = stretching(image)
    return image if curve is None else np.take(curve, image)


def paste(image: npt.NDArray[Any], shape: tuple[int, int], left: int, top: int) -> Any:
    """A model input (*shape, 3) uint8 with a resized image (h, w, 3) on grey."""
    height, width = image.shape[:2]
    bottom, right = top + height, left + width
    # Grey only where it stays: most images fill all but a narrow border.
    model_input = np.empty((*shape, 3), np.uint8)
    model_input[:top] = model_input[bottom:] = PAD_VALUE
    model_input[top:bottom, :left] = model_input[top:bottom, right:] = PAD_VALUE
    model_input[top:bottom, left:right] = image
    return model_input


def mapping(
    source: tuple[int, int], resized: tuple[int, int], left: int, top: int
) -> npt.NDArray[np.float32]:
    """What takes points from the model input back to the image; see `face_decoding.to_image`.

    Args:
        source: Width and height of the image.
        resized: Width and height in the model input.
        left: Grey columns before it.
        top: Grey rows before it.

    Returns:
        (4,) float32: scale x, scale y, left, top.
    """
    return np.array([source[0] / resized[0], source[1] / resized[1], left, top], np.float32)


def _round_up(value: float, multiple: int) -> int:
    return int(-(-value // multiple) * multiple)
