"""Ways to make a face hard to find: how it moves, what is before it, what spoils the frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from faceblur.image.pixels import BgrImage

WIDTH: Final = 640
HEIGHT: Final = 360
RATE: Final = 30


@dataclass(frozen=True)
class Pose:
    """Where the face is in one frame.

    Attributes:
        x: Of its centre, pixels.
        y: Of its centre, pixels.
        height: Of the face, pixels; 0 for a frame without it.
        flipped: Mirrored left to right, on another background.
        shot: Counts hard cuts.
    """

    x: float
    y: float
    height: float
    flipped: bool = False
    shot: int = 0


@dataclass(frozen=True, eq=False)
class Scenario:
    """One way to make faces hard to find.

    Attributes:
        name: What the tables call it.
        pose: Where the face is, by frame number (fractions for blur) and the clip's own phase.
        camera: It is the camera that moves and zooms: the background goes along.
        exposures: Moments that are averaged for a frame.
        spoil: What happens to the finished frame.
        occluder: Left and right edge of a bar in front, as fractions of the width.
    """

    name: str
    pose: Callable[[float, float], Pose]
    camera: bool = False
    exposures: int = 1
    spoil: Callable[[BgrImage, int, np.random.Generator], BgrImage] | None = None
    occluder: Callable[[float, float], tuple[float, float]] | None = None


def _pan(i: float, phase: float) -> Pose:
    # Out of the frame on one side, and back.
    t = i / RATE
    return Pose(320 + 400 * math.sin(1.9 * t + phase), 180 + 30 * math.sin(1.3 * t), 80)


def _zoom(i: float, phase: float) -> Pose:
    t = i / RATE
    height = 60 * 3.5 ** math.sin(2.2 * t + phase)
    return Pose(320 + 60 * math.sin(0.9 * t + phase), 180 + 20 * math.sin(1.1 * t), height)


def _calm(i: float, phase: float) -> Pose:
    t = i / RATE
    return Pose(
        320 + 120 * math.sin(1.3 * t + phase),
        180 + 40 * math.sin(0.9 * t + 2 * phase),
        90 + 35 * math.sin(1.1 * t + phase),
    )


def _small(i: float, phase: float) -> Pose:
    t = i / RATE
    return Pose(
        320 + 230 * math.sin(0.8 * t + phase),
        180 + 90 * math.sin(0.6 * t + phase),
        16 + 5 * math.sin(2.3 * t + phase),
    )


def _fast(i: float, phase: float) -> Pose:
    t = i / RATE
    return Pose(320 + 230 * math.sin(5 * t + phase), 180 + 70 * math.sin(7 * t), 70)


def _jerky(i: float, phase: float) -> Pose:
    # Rests, and is swept to the other side within a few frames.
    t = i / RATE
    swing = math.tanh(6 * math.sin(2.4 * t + phase))
    return Pose(320 + 180 * swing, 180 + 20 * math.sin(3 * t), 75)


def _cut(i: float, phase: float) -> Pose:
    shot = int(i // 18)
    if shot % 5 == 3:
        return Pose(0, 0, 0, flipped=True, shot=shot)
    calm = _calm(i, phase + 2.1 * shot)
    height = (110, 34, 70, 0, 50)[shot % 5]
    return Pose(calm.x, calm.y, height, flipped=shot % 2 == 1, shot=shot)


def _bar(i: float, phase: float) -> tuple[float, float]:
    left = (1.5 * (i / RATE) * 0.45 + phase / 7) % 1.5 - 0.4
    return left, left + 0.22


def _noise(image: BgrImage, i: int, random: np.random.Generator) -> BgrImage:
    sigma = 30 + 25 * math.sin(i / 5)
    return clipped(image + random.normal(0, sigma, image.shape))


def _low_light(image: BgrImage, i: int, random: np.random.Generator) -> BgrImage:
    gain = 0.10 + 0.07 * math.sin(i / 6)
    return clipped(image * gain + random.normal(0, 5, image.shape))


def clipped(values: npt.NDArray[np.float64]) -> BgrImage:
    """An image of levels that may be beyond black and white."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


SCENARIOS: Final = (
    Scenario("pan", _pan, camera=True),
    Scenario("zoom", _zoom, camera=True),
    Scenario("occlusion", _calm, occluder=_bar),
    Scenario("motion blur", _jerky, exposures=12),
    Scenario("noise", _calm, spoil=_noise),
    Scenario("low light", _calm, spoil=_low_light),
    Scenario("cuts", _cut),
    Scenario("small face", _small),
    Scenario("fast", _fast),
)
