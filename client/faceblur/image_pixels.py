"""Pixels of still pictures: between Pillow, OpenCV's arrays, and what the detector sees."""

from __future__ import annotations

import io
import logging

import cv2
import numpy as np
from PIL import Image, ImageCms

from faceblur.errors import InputError
from faceblur.surface import Array, Picture, check_pixels

logger = logging.getLogger(__name__)

_PLAIN = {"L": None, "RGB": cv2.COLOR_RGB2BGR, "RGBA": cv2.COLOR_RGBA2BGRA}
_ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


def from_pillow(image: Image.Image) -> Array:
    """Take the pixels out of a Pillow image, in an array of their own.

    Palettes, CMYK and other colour spaces become BGR; 1-bit becomes grey; a transparent colour
    becomes an alpha channel.

    Returns:
        (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA; uint8, uint16 or float32 (grey only).

    Raises:
        InputError: Integers beyond 16 bits.
    """
    if image.mode.startswith("I;16"):
        return np.array(image).astype(np.uint16)
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise InputError("it holds 32-bit integers: convert it to 16 bits first")
        return values.astype(np.uint16)
    if image.mode == "F":
        return np.array(image, np.float32)
    plain = _in_plain_mode(image)
    pixels = np.asarray(plain)
    conversion = _PLAIN[plain.mode]
    return pixels.copy() if conversion is None else cv2.cvtColor(pixels, conversion)


def to_pillow(pixels: Array) -> Image.Image:
    """Put pixels into a Pillow image.

    Args:
        pixels: uint8 grey, BGR or BGRA; uint16 or float32 grey.
    """
    if pixels.ndim == 2:
        return Image.fromarray(pixels)
    how = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return Image.fromarray(cv2.cvtColor(pixels, how))


def oriented(pixels: Array, orientation: int) -> Array:
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


def flattened(pixels: Array, colour: tuple[int, int, int]) -> Array:
    """Lay BGRA pixels over a colour (red, green, blue, 0–255); others are returned as they are."""
    if not has_alpha(pixels):
        return pixels
    white = _white(pixels)
    alpha = pixels[:, :, 3:].astype(np.float32) / white
    behind = np.array(colour[::-1], np.float32) * (white / 255)
    mixed = behind + (pixels[:, :, :3] - behind) * alpha
    flat: Array = mixed if pixels.dtype == np.float32 else np.rint(mixed)
    return flat.astype(pixels.dtype)


def to_uint8(pixels: Array) -> Array:
    """Reduce to 8 bits: 65535 or 1.0 becomes 255; what is beyond is clipped."""
    if pixels.dtype == np.uint8:
        return pixels
    return _scaled(pixels, _white(pixels))


def rgb8(pixels: Array, *, white: float | None = None) -> Picture:
    """What the detector sees of a picture.

    16-bit and floating point pictures are scaled to 8 bits. Those that use less than a quarter
    of their range (12 bits in a 16-bit file), or more than all of it, are scaled by what they do
    use, so that faces in them can be found. Transparency is ignored: a face that barely shows,
    or does not, is found like any other.

    Args:
        pixels: (H, W), (H, W, 3) BGR or (H, W, 4) BGRA; uint8, uint16 or float32.
        white: The value that becomes 255, where this is a part of a larger picture: its
            `used_white`.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        InputError: The array is not such a picture.
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


def _in_plain_mode(image: Image.Image) -> Image.Image:
    """The image as L, RGB or RGBA."""
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if image.mode in ("1", "L"):
        return image.convert("L")
    profile = image.info.get("icc_profile")
    if image.mode == "CMYK" and profile:
        try:
            return ImageCms.profileToProfile(
                image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
            ) or image.convert("RGB")
        except (ImageCms.PyCMSError, OSError):
            logger.warning("the colour profile cannot be used: colours may differ a little")
    return image if image.mode == "RGB" else image.convert("RGB")


def _white(pixels: Array) -> float:
    return 1.0 if pixels.dtype == np.float32 else float(np.iinfo(pixels.dtype).max)


def used_white(pixels: Array) -> float:
    """The value that counts as full brightness for the detector; see `rgb8`."""
    white = _white(pixels)
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
