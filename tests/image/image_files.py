"""Images that tests make, write and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms
from skimage import data

from faceblur.image.formats import FORMATS
from faceblur.image.io import ImageFile, read_image, write_image

Array = npt.NDArray[Any]

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ALL_SUFFIXES = [entry.suffixes[0] for entry in FORMATS]


def photo(width: int = 96, height: int = 64) -> Array:
    """A part of a real photo, RGB, not square."""
    part = data.astronaut()[40:240, 100:400]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)


def pixels_of(path: Path) -> Array:
    (page,) = read_image(path).pages
    return page.pixels


def copy(source: Path, target: Path, **options: Any) -> ImageFile:
    image = read_image(source)
    write_image(target, image, **options)
    return image


def partials(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def frames(count: int = 4, alpha: bool = False) -> list[Image.Image]:
    """Frames of few colours, so that a GIF holds them exactly."""
    result = []
    for index in range(count):
        rgb = (np.roll(photo(), 9 * index, axis=1) // 64) * 64 + 10
        opacity = np.full((64, 96), 255, np.uint8)
        opacity[:20, : 10 + 10 * index] = 0
        full = np.dstack([rgb, opacity])
        full[opacity == 0] = 0
        result.append(Image.fromarray(full if alpha else rgb))
    return result


def encoded(path: Path) -> Path:
    Image.fromarray(photo(384, 256)).save(path)
    return path
