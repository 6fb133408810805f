"""What an attack is tried on: the masks that are shipped, and others that it has to break."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from faceblur.detections import Detections
from faceblur.image.pixels import BgrImage
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskMode, MaskStyle
from faceblur.masks.surface import ArraySurface

Role = Literal["shipped", "control", "study"]

DEFAULT_MODE: MaskMode = MaskStyle().mode
BASELINE: MaskMode = "solid"
"""Shows nothing: what an attack reaches against it, it owes to something else."""

UNMASKED = "unmasked"
WEAK_BLUR = "weak Gaussian blur"

_TRIM = 0.04
"""Part of a crop's side that is cut off after masking: an ellipse leaves the corners bare."""


@dataclass(frozen=True)
class Disguise:
    """One way to hide a face.

    Attributes:
        role: "shipped" (has to hold), "control" (has to be seen through, or the attack proves
            nothing) or "study" (not shipped, measured to know why).
        cover: Gives the covered copy of a crop.
        shows_landmarks: Whether eyes and mouth can still be found, to align the face by.
    """

    name: str
    role: Role
    cover: Callable[[BgrImage], BgrImage]
    shows_landmarks: bool = False

    def __call__(self, crop: BgrImage) -> BgrImage:
        """The covered crop, without its rim."""
        covered = self.cover(crop)
        y, x = (int(np.ceil(side * _TRIM)) for side in crop.shape[:2])
        return np.ascontiguousarray(covered[y:-y, x:-x])


def shipped(style: MaskStyle, modes: Sequence[MaskMode] = get_args(MaskMode)) -> list[Disguise]:
    """The masks of this package."""
    image = _any_image() if style.image is None else style.image
    styles = [dataclasses.replace(style, mode=mode, image=image) for mode in modes]
    return [Disguise(each.mode, "shipped", _by_masker(each)) for each in styles]


def controls() -> list[Disguise]:
    """No mask, and a blur as weak as many a program's."""
    return [
        Disguise(UNMASKED, "control", lambda crop: crop.copy(), shows_landmarks=True),
        Disguise(WEAK_BLUR, "control", _weak_gaussian, shows_landmarks=True),
    ]


def study() -> list[Disguise]:
    """Averages of the face, smoothed: by number of cells, levels of each colour, and noise."""
    wanted = [*((cells, 256, 0) for cells in (6, 4, 2, 1)), (2, 4, 0), (1, 2, 0), (1, 256, 64)]
    return [
        Disguise(
            f"{cells}×{cells} averages, {levels} levels, noise {noise}",
            "study",
            _averages(cells, levels, noise),
        )
        for cells, levels, noise in wanted
    ]


def _by_masker(style: MaskStyle) -> Callable[[BgrImage], BgrImage]:
    masker = Masker(style)

    def cover(crop: BgrImage) -> BgrImage:
        image = crop.copy()
        row = np.zeros((1, 15), np.float32)
        row[0, 2:4] = crop.shape[1], crop.shape[0]
        masker.apply(ArraySurface(image), Detections.from_rows(row))
        return image

    return cover


def _weak_gaussian(crop: BgrImage) -> BgrImage:
    blurred = cv2.GaussianBlur(crop, (0, 0), crop.shape[1] / 16)
    return blurred.astype(np.uint8, copy=False)


def _averages(cells: int, levels: int, noise: float) -> Callable[[BgrImage], BgrImage]:
    # Fresh noise in every image, as a mask would have it.
    rng = np.random.default_rng()

    def cover(crop: BgrImage) -> BgrImage:
        grid = cv2.resize(crop, (cells, cells), interpolation=cv2.INTER_AREA).astype(np.float64)
        step = 256 / levels
        grid = (np.floor(grid / step) + 0.5) * step if levels < 256 else grid
        grid += rng.normal(0, noise, grid.shape)
        drawn = np.rint(np.clip(grid, 0, 255)).astype(np.uint8).reshape(cells, cells, 3)
        size = (crop.shape[1], crop.shape[0])
        patch: BgrImage = cv2.resize(drawn, size, interpolation=cv2.INTER_LINEAR)
        return patch

    return cover


def _any_image() -> BgrImage:
    """Something to put over faces where no image was given."""
    y, x = np.mgrid[0:256:4, 0:256:4]
    image: BgrImage = np.stack([x, y, 255 - x], axis=2).astype(np.uint8)
    return image
