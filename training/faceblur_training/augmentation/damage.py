"""What cameras and copies do to pixels: drawn, and done to a sample."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from faceblur_export.data.image_files import RgbImage
from faceblur_training.augmentation.config import NOISE_SIGMAS, AugmentConfig

FloatArray = npt.NDArray[np.float32]


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


def log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A number whose logarithm is uniform between those of the bounds."""
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def draw_damage(rng: np.random.Generator, config: AugmentConfig) -> Damage:
    """Decide the damage of a sample."""
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


def damaged(image: RgbImage, damage: Damage, *, noise_seed: int) -> RgbImage:
    """Do the damage to an image, (side, side, 3) uint8 RGB; the seed decides its noise."""
    side = len(image)
    if damage.shrink > 1:
        small = max(8, round(side / damage.shrink))
        image = np.asarray(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA))
        if damage.jpeg:
            image = _jpeg(image, damage.jpeg)
        image = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR))
    if damage.blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), damage.blur))
    if damage.motion:
        image = np.asarray(cv2.filter2D(image, -1, _motion_kernel(*damage.motion)))
    image = _coloured(image, damage)
    if damage.noise:
        image = np.asarray(
            cv2.add(image, _noise(side, noise_seed) * damage.noise, dtype=cv2.CV_8U), np.uint8
        )
    if damage.jpeg and damage.shrink <= 1:
        image = _jpeg(image, damage.jpeg)
    return image


_NOISE = np.random.default_rng(0).normal(size=(520, 640, 3)).astype(np.float32)


def _noise(side: int, seed: int) -> FloatArray:
    """(side, side, 3) noise of standard deviation 1.

    Drawing it is slow; a random window of a fixed field serves as well.
    """
    rng = np.random.default_rng(seed)
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
