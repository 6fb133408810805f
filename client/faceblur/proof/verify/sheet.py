"""A sheet of the places where faces leak. It shows them: keep it as you would the original."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from faceblur.errors import InputError, OutputError
from faceblur.files import atomic_path
from faceblur.image.pixels import BgrImage
from faceblur.proof.verify.report import Region

MOST: Final = 60
"""Images on a sheet, at most."""

TILE_PX: Final = 176
_LABEL_PX: Final = 24
_CONTEXT: Final = 0.6
_FRAME: Final = (60, 60, 230)
_TEXT: Final = (235, 235, 235)


def part(image: BgrImage, finding: Region) -> BgrImage:
    """The surroundings of a finding, with its box drawn, fitted to a tile."""
    box = finding.box.astype(np.float64)
    middle, reach = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() * (0.5 + _CONTEXT)
    low = np.maximum(np.floor(middle - reach), 0).astype(int)
    high = np.minimum(np.ceil(middle + reach), image.shape[1::-1]).astype(int)
    cut = image[low[1] : high[1], low[0] : high[0]]
    scale = TILE_PX / max(*cut.shape[:2], 1)
    size = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
    tile = np.full((TILE_PX, TILE_PX, 3), 32, np.uint8)
    tile[: size[1], : size[0]] = cv2.resize(cut, size, interpolation=cv2.INTER_AREA)
    corners = np.rint((box.reshape(2, 2) - low) * scale).astype(int)
    cv2.rectangle(tile, tuple(corners[0].tolist()), tuple(corners[1].tolist()), _FRAME, 1)
    return tile


def write_sheet(path: Path, parts: Sequence[tuple[Region, BgrImage]]) -> None:
    """Write a sheet of tiles, each with its frame and time.

    Raises:
        InputError: The name is not that of a PNG.
        OutputError: It cannot be written.
    """
    check_sheet(path)
    columns = max(1, math.ceil(math.sqrt(len(parts))))
    rows = max(1, math.ceil(len(parts) / columns))
    sheet = np.full((rows * (TILE_PX + _LABEL_PX), columns * TILE_PX, 3), 16, np.uint8)
    for index, (finding, tile) in enumerate(parts):
        y, x = index // columns * (TILE_PX + _LABEL_PX), index % columns * TILE_PX
        sheet[y : y + TILE_PX, x : x + TILE_PX] = tile
        text = f"frame {finding.frame}  {float(finding.time_s):.3f} s"
        where = (x + 4, y + TILE_PX + _LABEL_PX - 8)
        cv2.putText(sheet, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.4, _TEXT, 1, cv2.LINE_AA)
    done, data = cv2.imencode(".png", sheet)
    if not done:
        raise OutputError(f"cannot write {path}: the sheet cannot be encoded")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def check_sheet(path: Path) -> None:
    """Refuse a name that is none of a sheet, before any work is done.

    Raises:
        InputError: The name is not that of a PNG.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"the sheet is a PNG: name {path.name} with .png")
