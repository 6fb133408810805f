"""Plan and render training samples: mosaics of warped, damaged images with their faces.

A sample is planned first (which images, where, how large, which damage) and rendered after, so
that the plan is a pure function of its number and a seed: any worker may render any sample, and a
resumed run sees exactly the samples an unbroken one would have. Both stand in one module, since
whatever is drawn for a plan is rendered by the function beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from faceblur_export.data.image_files import RgbImage
from faceblur_training.data.pack import FACE_WIDTH, Pack

FloatArray = npt.NDArray[np.float32]
MatrixArray = npt.NDArray[np.float64]

PAD_VALUE = 114
TILT = 0.0006
"""Largest change of depth per pixel of an image of 640 pixels, in a perspective warp."""

NOISE_SIGMAS = (4.0, 36.0)
"""Standard deviation of sensor noise, grey levels: from a dim room to a street at night."""

MIRROR = (1, 0, 2, 4, 3)
"""Order of the landmarks after a left-right flip."""


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly samples are varied. Probabilities are per sample or per tile.

    Attributes:
        side: Width and height of a sample, pixels.
        mosaic: Probability of four images in one sample instead of one.
        face_crop: Probability that a tile is centred near a known face.
        face_heights: A face a tile is centred on gets a height drawn log-uniformly from this
            range of pixels; small faces are oversampled by choosing it low.
        scales: Otherwise the image's long side becomes 640 px times a factor drawn
            log-uniformly from this range.
        enlarge: Upper bound of magnification of stored pixels.
        rotate: Largest usual rotation, degrees; one tile in ten gets up to four times as much.
        perspective: Probability of a perspective warp.
        colour: Probability of changed colour, contrast and brightness.
        low_light: Probability of a dark, noisy sample.
        noise: Probability of sensor noise, of a strength drawn log-uniformly from `NOISE_SIGMAS`.
        blur: Probability of Gaussian or motion blur.
        shrink: Probability of being shrunk and enlarged again, as small copies are.
        jpeg: Probability of JPEG damage.
        repeat: Probability that what an image leaves empty is filled with copies of it instead
            of grey. Copies carry no labels: only for training with a teacher, who sees them.
    """

    side: int = 384
    mosaic: float = 0.5
    face_crop: float = 0.7
    face_heights: tuple[float, float] = (7.0, 90.0)
    scales: tuple[float, float] = (0.3, 1.7)
    enlarge: float = 2.5
    rotate: float = 10.0
    perspective: float = 0.2
    colour: float = 0.6
    low_light: float = 0.1
    noise: float = 0.1
    blur: float = 0.12
    shrink: float = 0.25
    jpeg: float = 0.2
    repeat: float = 0.0

    @classmethod
    def none(cls, side: int) -> AugmentConfig:
        """Whole images, letterboxed and unchanged: for tests and for measuring."""
        return cls(
            side=side,
            mosaic=0,
            face_crop=0,
            scales=(0, 0),
            rotate=0,
            perspective=0,
            colour=0,
            low_light=0,
            noise=0,
            blur=0,
            shrink=0,
            jpeg=0,
        )


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


@dataclass(frozen=True)
class Damage:
    """What is done to the pixels of a sample after it is put together."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    noise: float = 0.0
    blur: float = 0.0
    motion: tuple[int, float] | None = None
    shrink: float = 1.0
    jpeg: int = 0


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that decides one sample."""

    side: int
    tiles: tuple[Tile, ...]
    damage: Damage
    noise_seed: int


@dataclass(frozen=True, eq=False)
class Sample:
    """A rendered sample.

    Attributes:
        image: (side, side, 3) uint8 RGB.
        undamaged: The same before the damage.
        faces: (N, 15) float32 in sample pixels, as in a pack.
        known: (side/8, side/8) bool, cells where a person listed the faces.
    """

    image: RgbImage
    undamaged: RgbImage
    faces: FloatArray
    known: npt.NDArray[np.bool_] = field(repr=False)


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
    return Plan(config.side, tuple(tiles), _plan_damage(rng, config), int(rng.integers(2**31)))


def render(pack: Pack, plan: Plan) -> Sample:
    """Draw a planned sample."""
    image = np.full((plan.side, plan.side, 3), PAD_VALUE, np.uint8)
    known = np.zeros((plan.side // 8, plan.side // 8), np.bool_)
    faces = [np.zeros((0, FACE_WIDTH), np.float32)]
    for tile in plan.tiles:
        x1, y1, x2, y2 = tile.window
        image[y1:y2, x1:x2] = _warp(pack.image(tile.number), tile)
        entry = pack.entry(tile.number)
        faces.append(move_faces(entry.faces, tile))
        if entry.labelled:
            known[y1 // 8 : y2 // 8, x1 // 8 : x2 // 8] = True
    return Sample(_damaged(image, plan), image, np.concatenate(faces), known)


def move_faces(faces: FloatArray, tile: Tile) -> FloatArray:
    """Faces of an image as they lie in a sample; cut-off ones are dropped.

    A face stays when more than 40 % of its box is visible and it is at least 3 px high.
    """
    if not len(faces):
        return np.zeros((0, FACE_WIDTH), np.float32)
    corners = faces[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    moved = _project(corners, tile.matrix)
    # Between the hull of the turned corners and the middles of its sides lies the head.
    hull = np.concatenate([moved.min(1), moved.max(1)], 1)
    sides = (moved + np.roll(moved, 1, axis=1)) / 2
    inner = np.concatenate([sides.min(1), sides.max(1)], 1)
    boxes = (hull + inner) / 2 if abs(tile.matrix[0, 1]) > 0.05 * tile.scale else hull
    limit = np.asarray([*tile.window[:2], *tile.window[:2]]), np.asarray([*tile.window[2:]] * 2)
    clipped = np.clip(boxes, *limit)
    whole = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    visible = np.prod(clipped[:, 2:] - clipped[:, :2], 1)
    keep = (visible > 0.4 * whole) & (clipped[:, 3] - clipped[:, 1] >= 3)
    points = _project(faces[:, 5:].reshape(-1, 5, 2), tile.matrix)
    if tile.mirrored:
        points = points[:, MIRROR]
    table = np.concatenate([clipped, faces[:, 4:5], points.reshape(-1, 10)], 1)
    return np.asarray(table[keep], np.float32)


def _project(points: npt.NDArray[Any], matrix: MatrixArray) -> MatrixArray:
    homogeneous = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(homogeneous[..., :2] / homogeneous[..., 2:], np.float64)


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
    matrix = _shift(target) @ matrix @ _shift(-middle)
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


def _shift(by: npt.NDArray[Any]) -> MatrixArray:
    return np.asarray([[1, 0, by[0]], [0, 1, by[1]], [0, 0, 1]], np.float64)


def log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A number whose logarithm is uniform between those of the bounds."""
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _plan_damage(rng: np.random.Generator, config: AugmentConfig) -> Damage:
    gain, gamma, contrast, saturation, noise = (1.0, 1.0, 1.0), 1.0, 1.0, 1.0, 0.0
    if rng.random() < config.colour:
        level = rng.uniform(0.75, 1.3)
        gain = (
            level * rng.uniform(0.88, 1.12),
            level * rng.uniform(0.93, 1.07),
            level * rng.uniform(0.88, 1.12),
        )
        gamma = log_uniform(rng, (0.7, 1.45))
        contrast = rng.uniform(0.7, 1.3)
        saturation = 0.0 if rng.random() < 0.08 else rng.uniform(0.5, 1.5)
        noise = rng.uniform(0, 8) if rng.random() < 0.2 else 0.0
    if rng.random() < config.low_light:
        gamma, contrast = rng.uniform(1.4, 2.6), rng.uniform(0.5, 0.9)
        saturation, noise = rng.uniform(0.2, 0.8), rng.uniform(3, 14)
    blur, motion = 0.0, None
    if rng.random() < config.blur:
        if rng.random() < 0.6:
            blur = rng.uniform(0.5, 1.8)
        else:
            motion = (int(rng.integers(3, 10)), rng.uniform(0, 180))
    shrink = log_uniform(rng, (1.15, 2.6)) if rng.random() < config.shrink else 1.0
    jpeg = int(rng.integers(25, 92)) if rng.random() < config.jpeg else 0
    if rng.random() < config.noise:
        noise = max(noise, log_uniform(rng, NOISE_SIGMAS))
    return Damage(gain, gamma, contrast, saturation, noise, blur, motion, shrink, jpeg)


def _warp(image: RgbImage, tile: Tile) -> RgbImage:
    x1, y1, x2, y2 = tile.window
    matrix = _shift(np.asarray([-x1, -y1])) @ tile.matrix
    if tile.scale < 0.7:
        # Bilinear sampling aliases when it shrinks: average first, then warp at about 1:1.
        height, width = image.shape[:2]
        size = (max(8, round(width * tile.scale)), max(8, round(height * tile.scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        ratio = np.asarray([width / size[0], height / size[1]])
        # Pixel centres: p = (q + ½)·ratio − ½.
        matrix = matrix @ _shift(ratio / 2 - 0.5) @ np.diag([*ratio, 1.0])
    warp = cv2.warpPerspective
    if not matrix[2, :2].any():
        # The same for a matrix without tilt, and faster.
        warp, matrix = cv2.warpAffine, matrix[:2]
    warped = warp(
        image,
        matrix,
        (x2 - x1, y2 - y1),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP if tile.repeated else cv2.BORDER_CONSTANT,
        borderValue=(PAD_VALUE,) * 3,
    )
    return np.asarray(warped, np.uint8)


def _damaged(image: RgbImage, plan: Plan) -> RgbImage:
    damage = plan.damage
    if damage.shrink > 1:
        small = max(8, round(plan.side / damage.shrink))
        image = np.asarray(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA))
        if damage.jpeg:
            image = _jpeg(image, damage.jpeg)
        image = np.asarray(
            cv2.resize(image, (plan.side, plan.side), interpolation=cv2.INTER_LINEAR)
        )
    if damage.blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), damage.blur))
    if damage.motion:
        image = np.asarray(cv2.filter2D(image, -1, _motion_kernel(*damage.motion)))
    image = _coloured(image, damage)
    if damage.noise:
        image = np.asarray(cv2.add(image, _noise(plan) * damage.noise, dtype=cv2.CV_8U), np.uint8)
    if damage.jpeg and damage.shrink <= 1:
        image = _jpeg(image, damage.jpeg)
    return image


_NOISE = np.random.default_rng(0).normal(size=(520, 640, 3)).astype(np.float32)


def _noise(plan: Plan) -> FloatArray:
    """(side, side, 3) noise of standard deviation 1.

    Drawing it is slow; a random window of a fixed field serves as well.
    """
    rng, side = np.random.default_rng(plan.noise_seed), plan.side
    window = _NOISE[int(rng.integers(8)) :, int(rng.integers(64)) :][:side, :side]
    high, wide = (-(-side // size) for size in window.shape[:2])
    return window if high == wide == 1 else np.tile(window, (high, wide, 1))[:side, :side]


def _coloured(image: RgbImage, damage: Damage) -> RgbImage:
    if damage.saturation != 1:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = np.asarray(
            cv2.addWeighted(image, damage.saturation, grey, 1 - damage.saturation, 0)
        )
    if (damage.gamma, damage.contrast, damage.gain) == (1.0, 1.0, (1.0, 1.0, 1.0)):
        return image
    ramp = (np.arange(256) / 255) ** damage.gamma
    ramp = (ramp - 0.5) * damage.contrast + 0.5
    table = np.clip(ramp[:, None] * np.asarray(damage.gain) * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table.reshape(256, 1, 3)))


def _motion_kernel(length: int, angle: float) -> npt.NDArray[np.float32]:
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    centre = ((length - 1) / 2, (length - 1) / 2)
    turn = cv2.getRotationMatrix2D(centre, angle, 1.0)
    kernel = np.asarray(cv2.warpAffine(kernel, turn, (length, length)), np.float32)
    return np.asarray(kernel / max(float(kernel.sum()), 1e-6), np.float32)


def _jpeg(image: RgbImage, quality: int) -> RgbImage:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else None
    return image if decoded is None else np.asarray(decoded, np.uint8)
