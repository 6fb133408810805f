"""Plan training samples: which images, where, how large, with which damage.

A sample is planned first and rendered after, so that the plan is a pure function of its number and
a seed: any worker may render any sample, and a resumed run sees exactly the samples an unbroken one
would have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from faceblur_training.augmentation.config import AugmentConfig
from faceblur_training.augmentation.damage import Damage, draw_damage, log_uniform
from faceblur_training.data.pack import Pack

MatrixArray = npt.NDArray[np.float64]

TILT = 0.0006
"""Largest change of depth per pixel of an image of 640 pixels, in a perspective warp."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One image in a sample.

    Attributes:
        number: Index of the image in the pack.
        matrix: (3, 3) float64, image pixels to sample pixels.
        window: x1 y1 x2 y2 of the part of the sample it fills.
        scale: Magnification in its middle.
        mirrored: Whether left and right are swapped.
        repeated: Whether copies of the image fill what it leaves empty.
    """

    number: int
    matrix: MatrixArray
    window: tuple[int, int, int, int]
    scale: float
    mirrored: bool
    repeated: bool = False


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that decides one sample."""

    side: int
    tiles: tuple[Tile, ...]
    damage: Damage
    noise_seed: int


def plan_sample(
    pack: Pack,
    number: int,
    *,
    seed: int,
    config: AugmentConfig,
    weights: npt.NDArray[np.float64] | None = None,
) -> Plan:
    """Decide sample `number` of a run.

    Args:
        pack: Where images come from.
        number: Running number of the sample.
        seed: Seed of the run.
        config: Strength of the augmentation.
        weights: (len(pack),) cumulative probabilities of the images; uniform without.
    """
    rng = np.random.default_rng([seed, number])
    if weights is None:
        weights = np.arange(1, len(pack) + 1) / len(pack)
    tiles = [
        _plan_tile(pack, int(np.searchsorted(weights, rng.random())), window, rng, config)
        for window in _windows(rng, config)
    ]
    return Plan(config.side, tuple(tiles), draw_damage(rng, config), int(rng.integers(2**31)))


def _windows(
    rng: np.random.Generator, config: AugmentConfig
) -> Sequence[tuple[int, int, int, int]]:
    side = config.side
    if rng.random() >= config.mosaic:
        return ((0, 0, side, side),)
    # Cuts on multiples of 8 keep the cells of the finest level inside one image.
    x, y = (int(rng.integers(side // 4 // 8, 3 * side // 4 // 8 + 1)) * 8 for _ in range(2))
    return ((0, 0, x, y), (x, 0, side, y), (0, y, x, side), (x, y, side, side))


def _plan_tile(
    pack: Pack,
    number: int,
    window: tuple[int, int, int, int],
    rng: np.random.Generator,
    config: AugmentConfig,
) -> Tile:
    entry = pack.entry(number)
    long = max(entry.width, entry.height)
    middle = np.asarray([entry.width / 2, entry.height / 2])
    x1, y1, x2, y2 = window
    target = np.asarray([(x1 + x2) / 2, (y1 + y2) / 2])
    if config.scales[1] <= 0:
        scale = config.side / long
    elif len(entry.faces) and rng.random() < config.face_crop:
        box = entry.faces[int(rng.integers(len(entry.faces))), :4]
        scale = log_uniform(rng, config.face_heights) / max(4.0, float(box[3] - box[1]))
        middle = np.asarray([box[0] + box[2], box[1] + box[3]]) / 2
        target = np.asarray([rng.uniform(x1, x2), rng.uniform(y1, y2)])
    else:
        scale = 640 / long * log_uniform(rng, config.scales)
        middle = rng.random(2) * [entry.width, entry.height]
        if scale * long < max(x2 - x1, y2 - y1):
            middle = np.asarray([entry.width / 2, entry.height / 2])
    if config.scales[1] > 0:
        scale = float(np.clip(scale, 56 / long, config.enlarge))
    mirrored = bool(config.rotate and rng.random() < 0.5)
    # On a larger image the same tilt would turn its far corners inside out.
    tilt = TILT * min(1.0, 640 / long)
    matrix = _warp_matrix(rng, config, scale, mirrored, tilt)
    matrix = shift(target) @ matrix @ shift(-middle)
    return Tile(number, matrix, window, scale, mirrored, bool(rng.random() < config.repeat))


def _warp_matrix(
    rng: np.random.Generator, config: AugmentConfig, scale: float, mirrored: bool, tilt: float
) -> MatrixArray:
    """Scale, mirror, turn, shear and tilt about the origin."""
    angle = np.deg2rad(rng.uniform(-1, 1) * config.rotate * (4 if rng.random() < 0.1 else 1))
    cos, sin = np.cos(angle), np.sin(angle)
    stretch = np.exp(rng.uniform(-0.12, 0.12)) if config.rotate else 1.0
    shear = np.tan(np.deg2rad(rng.uniform(-3, 3))) if config.rotate else 0.0
    turn = np.asarray([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    shape = np.diag([scale * stretch * (-1 if mirrored else 1), scale / stretch, 1.0])
    shape[0, 1] = shear * scale
    matrix = turn @ shape
    if rng.random() < config.perspective:
        matrix[2, :2] = rng.uniform(-tilt, tilt, 2)
    return np.asarray(matrix, np.float64)


def shift(by: npt.NDArray[Any]) -> MatrixArray:
    """A matrix (3, 3) that moves by x and y."""
    return np.asarray([[1, 0, by[0]], [0, 1, by[1]], [0, 0, 1]], np.float64)
