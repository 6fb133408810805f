"""Pixels between Pillow's images and OpenCV's arrays."""

from __future__ import annotations

import io
import logging
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageCms

from faceblur.errors import InputError
from faceblur.image.pixels import Array

logger = logging.getLogger(__name__)

_PLAIN: Final = {"L": None, "RGB": cv2.COLOR_RGB2BGR, "RGBA": cv2.COLOR_RGBA2BGRA}

_ALPHA_MODES: Final = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


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
    """Put pixels (uint8 grey, BGR or BGRA; uint16 or float32 grey) into a Pillow image."""
    if pixels.ndim == 2:
        return Image.fromarray(pixels)
    how = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return Image.fromarray(cv2.cvtColor(pixels, how))


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
