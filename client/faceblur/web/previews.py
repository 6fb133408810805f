"""What the page shows of a result: masked pixels, nothing else."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from PIL import Image

TYPES: Final = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpe": "image/jpeg",
    ".jfif": "image/jpeg",
    ".png": "image/png",
    ".apng": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",
    ".webm": "video/webm",
    ".ogv": "video/ogg",
    ".mkv": "video/x-matroska",
}
"""Results that browsers show as they are, by suffix."""

_SIDE: Final = 1600


def image_of(result: Path) -> bytes | None:
    """A masked image as JPEG, reduced, for browsers that cannot show it; None if that fails."""
    try:
        with Image.open(result) as image:
            image.thumbnail((_SIDE, _SIDE))
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "JPEG", quality=85)
            return buffer.getvalue()
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
