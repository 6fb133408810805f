"""A sheet of small images with a caption below each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from faceblur.files import atomic_path
from faceblur_export.data.image_files import RgbImage

_CAPTION = 22


def captioned(tile: RgbImage, text: str) -> RgbImage:
    """An image (H, W, 3) uint8 RGB with as much of a line of text below as fits."""
    strip = np.full((_CAPTION, tile.shape[1], 3), 255, np.uint8)
    # OpenCV's font has no other letters.
    text = text.encode("ascii", "replace").decode()[-tile.shape[1] // 7 :]
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(strip, text, (4, _CAPTION - 6), font, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([tile, strip])


def write_sheet(path: Path, tiles: Sequence[RgbImage], *, columns: int) -> None:
    """Write equal tiles (H, W, 3) uint8 RGB, at least one, row by row as one PNG.

    Raises:
        OutputError: It cannot be written.
    """
    padded = [*tiles, *[np.full_like(tiles[0], 255)] * (-len(tiles) % columns)]
    rows = [np.hstack(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    encoded = cv2.imencode(".png", cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))[1]
    with atomic_path(path) as part:
        part.write_bytes(encoded.tobytes())
