"""Short videos of two people who meet, each in a way in which one may be taken for the other.

Both are heads cut out of photographs and moved over another photograph, so it is known exactly what
shows of each in every frame. The first pair is the portrait of the project and the same in other
colours; others are people of labelled photographs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data

from benchmarks.coverage.clips import FACE
from benchmarks.coverage.passers import Person, cut_out
from faceblur.image.pixels import BgrImage

WIDTH: Final = 480
HEIGHT: Final = 270
DURATION_S: Final = 5.0

_HEAD: Final = 1.45
"""Size of what is cut out, in sizes of the face."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Place:
    """Where a head is: its face's centre and height in pixels, and how much it shows, 0-1."""

    x: float
    y: float
    height: float
    opacity: float = 1.0


@dataclass(frozen=True)
class Scene:
    """A way to meet.

    Attributes:
        places: From 0 at the beginning to 1 at the end, where the first person is, who is to be
            seen, and where the second, who is not.
        first_in_front: Who hides whom.
        bar: Left and right edge of a post in front of both, pixels.
    """

    name: str
    places: Callable[[float], tuple[Place, Place]]
    first_in_front: bool = True
    bar: tuple[int, int] = (0, 0)


def _cross(t: float) -> tuple[Place, Place]:
    return Place(60 + 360 * t, 135, 74), Place(420 - 360 * t, 138, 72)


def _turn_back(t: float) -> tuple[Place, Place]:
    way = 165 * (1 - abs(2 * t - 1))
    return Place(65 + way, 135, 74), Place(415 - way, 138, 72)


def _stand_behind(t: float) -> tuple[Place, Place]:
    # Stops in front of the other for half of the time, and goes back.
    way = 180 * min(1.0, 4 * min(t, 1 - t))
    return Place(60 + way, 135, 78), Place(240, 137, 74)


def _come_out(t: float) -> tuple[Place, Place]:
    # The other has been behind from the beginning.
    return Place(240 - 190 * max(0.0, 2 * t - 1) ** 0.7, 135, 80), Place(241, 136, 74)


def _swept(t: float) -> tuple[Place, Place]:
    # Passes within a fifth of a second.
    swing = math.tanh(14 * (2 * t - 1))
    return Place(240 + 170 * swing, 135, 74), Place(240 - 170 * swing, 138, 72)


def _replaced(t: float) -> tuple[Place, Place]:
    return Place(240, 135, 80, float(t < 0.5)), Place(240, 135, 80, float(t >= 0.5))


def _after_a_blank(t: float) -> tuple[Place, Place]:
    return Place(240, 135, 80, float(t < 0.5)), Place(240, 135, 80, float(t >= 0.53))


def _dissolved(t: float) -> tuple[Place, Place]:
    share = min(1.0, max(0.0, 10 * t - 4.5))
    return Place(240, 135, 80, 1 - share), Place(240, 135, 80, share)


def _beside(t: float) -> tuple[Place, Place]:
    sway = 6 * math.sin(9 * t)
    return Place(120 + sway, 135, 74), Place(370 - sway, 138, 72)


def _look_round(t: float) -> tuple[Place, Place]:
    # A face fills the frame, and somebody looks out from behind.
    sway = 5 * math.sin(11 * t)
    return Place(230 + sway, 140, 225), Place(232 + 165 * math.sin(math.pi * t) ** 2, 130, 130)


def _pass_behind(t: float) -> tuple[Place, Place]:
    return Place(240 + 6 * math.sin(8 * t), 140, 225), Place(-30 + 540 * t, 128, 120)


SCENES: Final = (
    Scene("beside each other", _beside),
    Scene("cross, in front", _cross),
    Scene("cross, behind", _cross, first_in_front=False),
    Scene("meet and turn back", _turn_back),
    Scene("cross behind a post", _cross, bar=(200, 280)),
    Scene("turn back behind a post", _turn_back, bar=(190, 290)),
    Scene("stop in front of", _stand_behind),
    Scene("stop behind", _stand_behind, first_in_front=False),
    Scene("come out from behind", _come_out),
    Scene("swept past", _swept),
    Scene("swept past, behind", _swept, first_in_front=False),
    Scene("in the same place after a cut", _replaced),
    Scene("in the same place after a gap", _after_a_blank),
    Scene("dissolve", _dissolved),
    Scene("close-up, look out from behind", _look_round),
    Scene("close-up, pass behind", _pass_behind),
)


@dataclass(frozen=True, eq=False)
class Shown:
    """What a frame shows of a person.

    Attributes:
        face: The part that shows of the ellipse in the face's box.
        area: Of the whole ellipse, pixels.
        box: Of the face, x0 y0 x1 y1.
    """

    face: Mask
    area: float
    box: npt.NDArray[np.float64]

    @property
    def counts(self) -> bool:
        """Enough of it shows to matter."""
        return bool(self.face.sum() >= 0.1 * self.area)


def pairs(portrait: Path, folders: Sequence[Path], count: int) -> list[tuple[Person, Person]]:
    """So many pairs of people: of the portrait, and of folders of labelled photographs."""
    cut = [cut_out(folder, 2 * count) for folder in folders]
    # Two of one photograph may be alike: each pair is of two folders, or of far ends of one.
    others = [
        (cut[i % len(cut)][i], cut[(i + 1) % len(cut)][-1 - i])
        for i in range(count - 1 if cut else 0)
    ]
    return [people(portrait), *others]


def people(portrait: Path) -> tuple[Person, Person]:
    """The portrait of the project, and the same mirrored and in other colours."""
    image = cv2.imread(str(portrait))
    if image is None:
        raise FileNotFoundError(portrait)
    left, top, right, bottom = FACE
    other = np.clip(image[:, ::-1, [2, 0, 1]] * np.float32(0.8) + 24, 0, 255).astype(np.uint8)
    width = image.shape[1]
    return (
        Person(np.asarray(image, np.uint8), FACE),
        Person(np.ascontiguousarray(other), (width - right, top, width - left, bottom)),
    )


def frames(
    scene: Scene, pair: tuple[Person, Person], *, rate: float, seed: int = 0
) -> Iterator[tuple[BgrImage, tuple[Shown, Shown]]]:
    """Frames, BGR, and what each shows of both people."""
    random = np.random.default_rng(seed)
    background = cv2.resize(skimage.data.rocket()[:, :, ::-1], (WIDTH, HEIGHT))
    shift = random.uniform(-10, 10, 4)
    tempo = random.uniform(0, 0.04)
    count = round(rate * DURATION_S)
    for i in range(count):
        places = scene.places(min(1.0, i / (count - 1) + tempo))
        yield _draw(scene, pair, places, background, shift)


def _draw(
    scene: Scene,
    pair: tuple[Person, Person],
    places: tuple[Place, Place],
    background: BgrImage,
    shift: npt.NDArray[np.float64],
) -> tuple[BgrImage, tuple[Shown, Shown]]:
    canvas = background.astype(np.float32)
    hidden = np.zeros((HEIGHT, WIDTH), np.float32)
    hidden[:, slice(*scene.bar)] = 1
    shown: dict[int, Shown] = {}
    layers: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []
    for who in (0, 1) if scene.first_in_front else (1, 0):
        place, person = places[who], pair[who]
        x, y = place.x + shift[2 * who] / 3, place.y + shift[2 * who + 1]
        left, top, right, bottom = person.face
        scale = place.height / (bottom - top)
        centre = (left + right) / 2, (top + bottom) / 2
        matrix = np.array([[scale, 0, x - scale * centre[0]], [0, scale, y - scale * centre[1]]])
        head = cv2.warpAffine(person.image, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
        rows, columns = np.ogrid[:HEIGHT, :WIDTH]
        half_y, half_x = place.height / 2, scale * (right - left) / 2
        away = np.hypot((columns + 0.5 - x) / half_x, (rows + 0.5 - y) / half_y)
        alpha = np.clip((_HEAD - away) / 0.12, 0, 1).astype(np.float32) * np.float32(place.opacity)
        layers.append((head.astype(np.float32), alpha))
        face = (away <= 1) & (hidden < 0.9) & (place.opacity > 0.1)
        box = np.array([x - half_x, y - half_y, x + half_x, y + half_y])
        shown[who] = Shown(face, math.pi * half_x * half_y, box)
        hidden = 1 - (1 - hidden) * (1 - alpha)
    for head, alpha in reversed(layers):
        canvas += (head - canvas) * alpha[..., None]
    canvas[:, slice(*scene.bar)] = (60, 70, 66)
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8), (shown[0], shown[1])
