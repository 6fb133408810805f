"""Images for people to look at, as JPEG; what is kept is written by `faceblur.image.io`."""

from __future__ import annotations

import cv2

from faceblur.errors import OutputError
from faceblur.image.pixels import BgrImage


def jpeg(pixels: BgrImage, *, quality: int) -> bytes:
    """Encode an image.

    Args:
        pixels: (H, W, 3) uint8, BGR.
        quality: 1 to 100.

    Raises:
        OutputError: It has more than 65500 rows or columns, or none.
    """
    try:
        done, data = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
    except cv2.error as error:
        raise OutputError(f"an image cannot be encoded as JPEG: {error.err}") from error
    if not done:
        raise OutputError("an image cannot be encoded as JPEG")
    return data.tobytes()
