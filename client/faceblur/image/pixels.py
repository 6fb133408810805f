"""Arrays of pixels: what counts as one, and what the detector is given of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.errors import InputError

Array = npt.NDArray[Any]

BgrImage = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, BGR."""

RgbImage = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, RGB."""

_GREY: Final = (128, 128, 128)
WHITE: Final = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
"""Full brightness, by the type of a sample; arrays of other types are no images."""


def upright(pixels: Array, orientation: int) -> Array:
    """Turn and mirror pixels as an EXIF orientation (1–8; others count as 1) says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def hide_transparent(pixels: Array) -> None:
    """Remove the colour under fully transparent pixels, in place: nobody is meant to see it."""
    if has_alpha(pixels):
        pixels[pixels[:, :, 3] == 0] = 0


def has_alpha(pixels: Array) -> bool:
    """Whether there is an alpha channel."""
    return pixels.ndim == 3 and pixels.shape[2] == 4


def flatten(pixels: Array, color: tuple[int, int, int]) -> Array:
    """Lay BGRA pixels over a colour (red, green, blue, 0–255); others are returned as they are."""
    if not has_alpha(pixels):
        return pixels
    white = WHITE[pixels.dtype.name]
    alpha = pixels[:, :, 3:].astype(np.float32) / white
    behind = np.array(color[::-1], np.float32) * (white / 255)
    mixed = behind + (pixels[:, :, :3] - behind) * alpha
    flat: Array = mixed if pixels.dtype == np.float32 else np.rint(mixed)
    return flat.astype(pixels.dtype)


def appearances(pixels: Array) -> Iterator[Array]:
    """What an image may look like: its colours, and what its transparency draws.

    A face may be in either alone: hidden under what barely shows, or drawn in one colour by
    transparency, as stencils and halftones are. Over grey both dark and light ones show.
    """
    yield pixels
    if has_alpha(pixels) and (alpha := pixels[:, :, 3]).min() != alpha.max():
        yield flatten(pixels, _GREY)


def to_uint8(pixels: Array) -> Array:
    """Reduce to 8 bits: 65535 or 1.0 becomes 255; what is beyond is clipped."""
    if pixels.dtype == np.uint8:
        return pixels
    return _scaled(pixels, WHITE[pixels.dtype.name])


def rgb8(pixels: Array, *, white: float | None = None) -> RgbImage:
    """What the detector sees of an image.

    16-bit and floating point images are scaled to 8 bits. Those that use less than a quarter
    of their range (12 bits in a 16-bit file), or more than all of it, are scaled by what they do
    use, so that faces in them can be found. Transparency is ignored: a face that barely shows,
    or does not, is found like any other.

    Args:
        pixels: (H, W), (H, W, 3) BGR or (H, W, 4) BGRA; uint8, uint16 or float32.
        white: The value that becomes 255, where this is a part of a larger image: its
            `used_white`.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        InputError: The array is not such an image.
    """
    check_pixels(pixels)
    small = pixels
    if pixels.dtype != np.uint8:
        small = _scaled(pixels, used_white(pixels) if white is None else white)
    if small.ndim == 2:
        how = cv2.COLOR_GRAY2RGB
    else:
        how = cv2.COLOR_BGRA2RGB if has_alpha(small) else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(small, how).astype(np.uint8, copy=False)


def used_white(pixels: Array) -> float:
    """The value that counts as full brightness for the detector; see `rgb8`."""
    white = WHITE[pixels.dtype.name]
    if pixels.dtype == np.uint8:
        return white
    sample = pixels[::8, ::8]
    colours = sample[..., :3] if has_alpha(pixels) else sample
    used = float(np.percentile(np.nan_to_num(colours), 99.9))
    return used if 0 < used < white / 4 or used > white else white


def _scaled(pixels: Array, white: float) -> Array:
    if pixels.dtype == np.float32:
        pixels = np.nan_to_num(pixels)
    small: Array = cv2.convertScaleAbs(np.maximum(pixels, 0), alpha=255 / white)
    return small


@dataclass(frozen=True, eq=False)
class Plane:
    """One plane of samples, seen through a writable view.

    Sample (row i, column j) stands for the pixels of the image with rows from i · step_y and
    columns from j · step_x, step_y × step_x of them: that is how chroma planes are subsampled.

    Attributes:
        pixels: (H, W) or (H, W, C), uint8, uint16 or float32; need not be contiguous. Writing
            to it changes the image.
        step_x: Image columns to one sample.
        step_y: Image rows to one sample.
    """

    pixels: Array
    step_x: int = 1
    step_y: int = 1


def check_pixels(pixels: Array) -> None:
    """Refuse an array that is not an image.

    Raises:
        InputError: It is not (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA of uint8, uint16 or
            float32, or has no pixels.
    """
    shape = "×".join(map(str, pixels.shape))
    if pixels.dtype.name not in WHITE:
        raise InputError(f"an array of {pixels.dtype} is no image: give uint8, uint16 or float32")
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] in (3, 4)):
        raise InputError(f"an array of {shape} is no image: give H×W, H×W×3 or H×W×4")
    if 0 in pixels.shape:
        raise InputError(f"an array of {shape} is no image: it has no pixels")
