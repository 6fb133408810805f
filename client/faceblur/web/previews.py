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
_MOST_BYTES: Final = 500_000
"""Of a photo that is shown as it is: browsers are slow with large ones, and there may be many."""

_REDUCED: Final = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
"""What is read at a lower size in a moment."""


def is_heavy(result: Path) -> bool:
    """Whether a browser is better shown a reduced image."""
    return result.suffix.lower() in _REDUCED and result.stat().st_size > _MOST_BYTES


def image_of(result: Path) -> bytes | None:
    """A masked image as JPEG, reduced; None if that fails."""
    try:
        with Image.open(result) as image:
            profile = image.info.get("icc_profile") if image.mode == "RGB" else None
            scale = min(1.0, _SIDE / max(image.size))
            # A JPEG is read at a half or a quarter of its size.
            image.draft(None, (round(image.width * scale), round(image.height * scale)))
            image.thumbnail((_SIDE, _SIDE))
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "JPEG", quality=85, icc_profile=profile)
            return buffer.getvalue()
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
