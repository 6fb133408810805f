"""Made views with people walking and standing in them, whose silhouettes are known exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.image.pixels import BgrImage

Bitmap = npt.NDArray[np.bool_]

WIDTH: Final = 640
HEIGHT: Final = 360
RATE: Final = 10
EMPTY_S: Final = 14
"""Nobody is there at first: a camera learns its background in that time."""


class Shot(NamedTuple):
    """A frame, and what of it are people."""

    image: BgrImage
    people: Bitmap


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a view is like.

    Attributes:
        noise: Standard deviation of each sample, levels.
        shadow: What is left of the light in the shadow of somebody.
        flicker: A screen changes its brightness by so many levels, at random.
        rain: Streaks in each frame.
        exposure: Levels by which everything gets lighter while somebody is there.
        contrast: Levels between the clothes of one of them and the floor.
    """

    name: str
    noise: float = 2.0
    shadow: float = 1.0
    flicker: float = 0.0
    rain: int = 0
    exposure: float = 0.0
    contrast: float = 60.0


SCENES: Final = (
    Scene(name="plain"),
    Scene(name="shadow", shadow=0.6),
    Scene(name="noise", noise=8.0),
    Scene(name="flicker", flicker=15.0),
    Scene(name="rain", rain=60),
    Scene(name="exposure", exposure=18.0),
    Scene(name="clothes like the floor", contrast=14.0),
)


class _Walker(NamedTuple):
    start_s: float
    stand_s: float
    row: float
    tone: tuple[float, float, float]
    height: float


def frames(scene: Scene, *, seconds: float = 40.0, seed: int = 0) -> Iterator[Shot]:
    """Draw a clip: somebody walks through, one stands for a while, one looks like the floor."""
    rng = np.random.default_rng(seed)
    floor = _room(rng)
    walkers = (
        _Walker(EMPTY_S, 0, 0.55, (40, 35, 30), 100),
        _Walker(EMPTY_S + 7, 10, 0.7, (150, 60, 50), 130),
        _Walker(EMPTY_S + 15, 0, 0.85, _like_floor(scene.contrast), 120),
    )
    for index in range(round(seconds * RATE)):
        time_s = index / RATE
        image = floor.copy()
        people = np.zeros((HEIGHT, WIDTH), np.uint8)
        if scene.flicker:
            image[30:90, 490:580] += rng.normal(0, scene.flicker)
        for walker in walkers:
            x = _place(walker, time_s)
            if x is None:
                continue
            body = _body(x, walker.row * HEIGHT, walker.height)
            if scene.shadow < 1:
                shade = _body(x + 30, walker.row * HEIGHT + 20, walker.height)
                image[(shade > 0) & (people == 0)] *= scene.shadow
            inside = body > 0
            image[inside] = walker.tone + rng.normal(0, 4, (int(inside.sum()), 3))
            people |= body
        if scene.exposure and people.any():
            image += scene.exposure
        for _ in range(scene.rain):
            x0, y0 = rng.integers(0, WIDTH), rng.integers(0, HEIGHT)
            cv2.line(image, (int(x0), int(y0)), (int(x0) + 2, int(y0) + 15), (190, 190, 190), 1)
        image += rng.normal(0, scene.noise, image.shape).astype(np.float32)
        yield Shot(np.clip(image, 0, 255).astype(np.uint8), people > 0)


_FLOOR: Final = np.array([120.0, 125.0, 128.0])


def _like_floor(contrast: float) -> tuple[float, float, float]:
    blue, green, red = (_FLOOR + contrast).tolist()
    return blue, green, red


def _room(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A floor with boards, a wall with images."""
    room = np.empty((HEIGHT, WIDTH, 3), np.float32)
    room[:] = _FLOOR
    room[: HEIGHT // 3] = (185, 190, 192)
    for x in range(0, WIDTH, 32):
        cv2.line(room, (x, HEIGHT // 3), (2 * x - WIDTH // 2, HEIGHT), (90, 95, 100), 2)
    for x in (75, 210, 350):
        tone = tuple(rng.uniform(30, 220, 3).tolist())
        cv2.rectangle(room, (x, 25), (x + 60, 75), tone, -1)
    cv2.rectangle(room, (490, 30), (579, 89), (60, 60, 60), -1)
    return room


def _place(walker: _Walker, time_s: float) -> float | None:
    """The middle of somebody who walks through, and stands in the middle for a while."""
    walked = time_s - walker.start_s
    half_s = 3.0
    if walked < 0 or walked > 2 * half_s + walker.stand_s:
        return None
    if walked > half_s:
        walked = max(half_s, walked - walker.stand_s)
    return -40 + (WIDTH + 80) * walked / (2 * half_s)


def _body(x: float, y: float, height: float) -> npt.NDArray[np.uint8]:
    """Head, trunk and legs."""
    body = np.zeros((HEIGHT, WIDTH), np.uint8)
    at = round(x), round(y)

    def part(up: float, wide: float, high: float, aside: float = 0) -> None:
        middle = (round(at[0] + aside * height), round(at[1] - up * height))
        axes = (max(1, round(wide * height)), max(1, round(high * height)))
        cv2.ellipse(body, middle, axes, 0, 0, 360, 255, -1)

    part(0.9, 0.07, 0.1)
    part(0.6, 0.14, 0.25)
    part(0.2, 0.05, 0.22, -0.07)
    part(0.2, 0.05, 0.22, 0.07)
    return body
