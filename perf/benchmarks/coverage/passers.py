"""Short videos of people who come in, pass behind things and turn round, with exact places.

The people are cut out of photographs whose faces a person labelled, and moved over a photograph
without faces (a rocket) that comes with scikit-image. Motion is a function of time, so one
clip can be drawn at any rate. A head that turns is an ellipsoid: the face in front, hair behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import skimage.data

from benchmarks.coverage.clips import MIN_SHOWN, Mask
from benchmarks.coverage.scenarios import HEIGHT, WIDTH
from faceblur.image.pixels import BgrImage
from faceblur_export.data.formats import read_folder

HEIGHTS: Final = (28.0, 44.0, 64.0, 96.0)
"""Of the faces, pixels: from across a room to an arm's length away."""
MIN_TURNED: Final = 0.5
"""Of a face that turns, less than this counts as the back of a head."""

_MIN_SOURCE: Final = 40
"""Lower faces in photographs are not cut out, pixels."""
_MARGIN: Final = 0.9
"""What is cut out around a face, on each side, in faces."""
_EXPOSURE_S: Final = 1 / 60
_EXPOSURES: Final = 3
_HEAD: Final = (1.3, 1.35)
"""Width and height of a head, in faces."""


@dataclass(frozen=True, eq=False)
class Person:
    """A face cut out of a photograph with what is around it.

    Attributes:
        image: BGR.
        face: (4,) box in it, xyxy.
    """

    image: BgrImage
    face: tuple[float, float, float, float]


@dataclass(frozen=True)
class Stance:
    """Where somebody is at one moment.

    Attributes:
        x: Of the face's centre, in its heights from the middle of the frame.
        yaw: How far the head is turned away, radians; 0 looks into the camera.
    """

    x: float
    yaw: float = 0.0


@dataclass(frozen=True, eq=False)
class Sight:
    """What a frame shows of a face.

    Attributes:
        visible: (H, W), its part that shows.
        counts: Enough of it shows.
    """

    visible: Mask
    counts: bool


@dataclass(frozen=True, eq=False)
class Walk:
    """A way for faces to come into sight.

    Attributes:
        name: What the tables call it.
        stance: By time in seconds, half the frame's width in faces, and the clip's own pace.
        pillars: Edges of what stands in front, in faces from the middle.
        turns: Heads are drawn as solids.
    """

    name: str
    stance: Callable[[float, float, float], Stance]
    pillars: tuple[tuple[float, float], ...] = ()
    turns: bool = False


SECONDS: Final = 6.0


def _enter(t: float, half: float, pace: float) -> Stance:
    # In from the left, a stop in the middle, out to the right, and back in from there.
    out = half + 1.0
    come, stay = out / pace, 1.2
    gone = come + stay + out / pace
    if t < come:
        return Stance(-out + pace * t)
    if t < come + stay:
        return Stance(0.0)
    if t < gone:
        return Stance(pace * (t - come - stay))
    return Stance(out - pace * max(0.0, t - gone - 1.2))


def _pass(t: float, half: float, pace: float) -> Stance:
    # To and fro between the edges of the frame.
    way = half - 1.0
    place = (pace * t + half) % (4 * way)
    return Stance(place - way if place < 2 * way else 3 * way - place)


def _turn(t: float, half: float, pace: float) -> Stance:  # noqa: ARG001
    # The back of a head, then within half a second or so the face, and away again.
    swing = math.tanh(2.2 * math.sin(0.55 * pace * t - 1.0)) / math.tanh(2.2)
    return Stance(0.3 * math.sin(t), math.pi * (1 - swing) / 2)


WALKS: Final = (
    Walk("enters", _enter),
    Walk("passes behind pillars", _pass, pillars=((-2.9, -1.2), (1.2, 2.9))),
    Walk("turns round", _turn, turns=True),
)


def cut_out(folder: Path, count: int) -> list[Person]:
    """People of a folder of labelled images, evenly taken from all that can be cut out.

    Args:
        folder: As `faceblur_export.data.formats.read_folder` reads it.
        count: How many, at most.
    """
    found = []
    for labelled in read_folder(folder):
        image = cv2.imread(str(labelled.path)) if labelled.labelled else None
        if image is None:
            continue
        down, across = image.shape[:2]
        boxes = labelled.in_pixels(across, down).boxes
        for index, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
            side = (y1 - y0) * _MARGIN
            left, top = max(0.0, x0 - side), max(0.0, y0 - side)
            right, bottom = min(float(across), x1 + side), min(float(down), y1 + side)
            others = np.delete(boxes, index, axis=0)
            apart = (
                (others[:, 0] >= right)
                | (others[:, 2] <= left)
                | (others[:, 1] >= bottom)
                | (others[:, 3] <= top)
            )
            whole = min(x0, y0, across - x1, down - y1) > (y1 - y0) / 4
            if y1 - y0 >= _MIN_SOURCE and whole and apart.all():
                area = image[int(top) : int(bottom), int(left) : int(right)]
                face = (x0 - int(left), y0 - int(top), x1 - int(left), y1 - int(top))
                found.append(Person(np.asarray(area, np.uint8), face))
    step = max(1.0, len(found) / max(1, count))
    return [found[int(i * step)] for i in range(min(count, len(found)))]


class PasserMaker:
    """Draws the frames of a walk."""

    def __init__(self) -> None:
        """Prepare the background."""
        rocket = cv2.cvtColor(skimage.data.rocket(), cv2.COLOR_RGB2BGR)
        self._background = np.asarray(cv2.resize(rocket, (WIDTH, HEIGHT)), np.uint8)

    def frames(
        self, walk: Walk, person: Person, *, height: float, fps: float, seed: int
    ) -> Iterator[tuple[BgrImage, Sight]]:
        """Frames, BGR, and what each shows of the face.

        Args:
            walk: The way it comes into sight.
            person: Whose face.
            height: Of the face in the frames, pixels.
            fps: Frames per second.
            seed: Decides the pace and when it begins.
        """
        random = np.random.default_rng(seed)
        # Somebody who strolls, or hurries: 0.5 to 1.5 m/s, with a face of 22 cm.
        pace = float(random.uniform(2.3, 6.8))
        delay = float(random.uniform(0, 0.3))
        half = WIDTH / 2 / height
        for i in range(round(SECONDS * fps)):
            t = i / fps - delay
            moments = [t + _EXPOSURE_S * k / _EXPOSURES for k in range(_EXPOSURES)]
            drawn = [self._draw(walk, person, height, walk.stance(m, half, pace)) for m in moments]
            summed = np.sum([each for each, _ in drawn], axis=0, dtype=np.uint16)
            image = (summed // _EXPOSURES).astype(np.uint8)
            visible = drawn[len(drawn) // 2][1]
            wide = (person.face[2] - person.face[0]) / (person.face[3] - person.face[1])
            area = math.pi / 4 * height * height * wide
            least = MIN_TURNED if walk.turns else MIN_SHOWN
            yield image, Sight(visible, bool(visible.sum() >= least * area))

    def _draw(
        self, walk: Walk, person: Person, height: float, stance: Stance
    ) -> tuple[BgrImage, Mask]:
        x0, y0, x1, y1 = person.face
        scale = height / (y1 - y0)
        source, zoom = person.image, scale
        if scale < 0.5:
            # Reduced first, as a camera's optics would: plain warping aliases.
            small = cv2.resize(source, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            source, zoom = np.asarray(small, np.uint8), 1.0
        face = np.array([x0, y0, x1, y1]) * (scale / zoom)
        middle = np.array([(face[0] + face[2]) / 2, (face[1] + face[3]) / 2])
        half = np.array([(face[2] - face[0]) / 2, (face[3] - face[1]) / 2])
        centre = np.array([WIDTH / 2 + stance.x * height, HEIGHT / 2])
        # The part of the frame that the cut-out lies in.
        size = np.array(source.shape[1::-1])
        low = np.clip(np.floor(centre - middle * zoom), 0, (WIDTH, HEIGHT)).astype(int)
        high = np.clip(np.ceil(centre + (size - middle) * zoom), low, (WIDTH, HEIGHT)).astype(int)
        part = slice(low[1], high[1]), slice(low[0], high[0])
        image, visible = self._background.copy(), np.zeros((HEIGHT, WIDTH), np.bool_)
        if (high > low).all():
            y, x = np.mgrid[part].astype(np.float32)
            across = (x + np.float32(0.5 - centre[0])) / np.float32(zoom)
            down = (y + np.float32(0.5 - centre[1])) / np.float32(zoom)
            front = np.ones(across.shape, np.bool_)
            if walk.turns:
                across, front = _turned(across, down, half, stance.yaw)
            image[part] = cv2.remap(
                source,
                (across + np.float32(middle[0] - 0.5)).astype(np.float32),
                (down + np.float32(middle[1] - 0.5)).astype(np.float32),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            image[part][~front] = _hair(source, face)
            visible[part] = front & ((across / half[0]) ** 2 + (down / half[1]) ** 2 <= 1)
        for left, right in walk.pillars:
            edges = (round(WIDTH / 2 + edge * height) for edge in (left, right))
            columns = slice(*(min(max(edge, 0), WIDTH) for edge in edges))
            image[:, columns] = self._background[:, columns] // 2 + 40
            visible[:, columns] = False
        return image, visible


def _turned(
    across: np.ndarray, down: np.ndarray, half: np.ndarray, yaw: float
) -> tuple[np.ndarray, Mask]:
    """Where the pixels of a head lie on the face it shows from the front.

    Args:
        across: (H, W) distance from its middle.
        down: (H, W).
        half: Half width and height of the face.
        yaw: How far it is turned.

    Returns:
        `across` on the untouched photograph, and whether it is the front of the head.
    """
    wide, high = half * _HEAD
    u, v = across / wide, down / high
    depth = 1 - u**2 - v**2
    head = depth > 0
    z = np.sqrt(np.maximum(depth, 0))
    turned = u * math.cos(yaw) - z * math.sin(yaw)
    front = u * math.sin(yaw) + z * math.cos(yaw) > 0
    return np.where(head, turned * wide, across).astype(np.float32), front | ~head


def _hair(source: BgrImage, face: np.ndarray) -> np.ndarray:
    top, left, right = (max(0, int(edge)) for edge in (face[1], face[0], face[2]))
    rows = slice(max(0, top - max(2, (right - left) // 6)), top + 2)
    colour: np.ndarray = source[rows, left : right + 1].reshape(-1, 3).mean(0)
    return colour
