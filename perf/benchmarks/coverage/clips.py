"""Short videos of a face that moves, with its exact place in every frame.

The face is that of the public-domain portrait in docs/images, moved, zoomed and spoilt over other
photographs (a rocket; gravel) that come with scikit-image. A clip's seed decides where its motion
begins, how fast it goes and what the noise is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data

from benchmarks.coverage.scenarios import HEIGHT, WIDTH, Pose, Scenario, clipped
from faceblur.image.pixels import BgrImage

FACE: Final = (177.0, 76.0, 273.0, 190.0)
"""Hairline to chin and cheek to cheek in the portrait, marked by hand; x0 y0 x1 y1."""

MIN_HEIGHT: Final = 10
"""Faces lower than this, in pixels, are not counted."""
MIN_SHOWN: Final = 0.1
"""Nor are those of which less shows, behind something else or outside the frame."""

_TEMPO: Final = (0.8, 1.25)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Truth:
    """What a frame shows of the face.

    Attributes:
        ellipse: The face's inscribed ellipse, hidden parts included.
        visible: Its part that shows.
        area: Of the whole ellipse, also beyond the frame's edges, pixels.
        height: Of the face, pixels.
        shot: Counts hard cuts.
    """

    ellipse: Mask
    visible: Mask
    area: float
    height: float
    shot: int

    @property
    def counts(self) -> bool:
        """The face is large enough, and enough of it shows."""
        shown = self.visible.sum() >= MIN_SHOWN * self.area
        return bool(self.height >= MIN_HEIGHT and shown)


class ClipMaker:
    """Draws the frames of a scenario."""

    def __init__(self, portrait: Path) -> None:
        """Read the portrait."""
        image = cv2.imread(str(portrait))
        if image is None:
            raise FileNotFoundError(portrait)
        self._portrait = np.asarray(image, np.uint8)
        self._backgrounds = [_fitted(skimage.data.rocket()), _fitted(skimage.data.gravel())]

    def frames(
        self, scenario: Scenario, *, count: int, seed: int
    ) -> Iterator[tuple[BgrImage, Truth]]:
        """Frames, BGR, and what each shows of the face."""
        random = np.random.default_rng(seed)
        phase = float(random.uniform(0, 2 * math.pi))
        tempo = float(random.uniform(*_TEMPO))
        for i in range(count):
            moments = [tempo * (i + k / scenario.exposures) for k in range(scenario.exposures)]
            image = np.mean([self._draw(scenario, m, phase) for m in moments], axis=0)
            spoilt = clipped(image)
            if scenario.spoil is not None:
                spoilt = scenario.spoil(spoilt, i, random)
            yield spoilt, self._truth(scenario, moments[len(moments) // 2], phase)

    def _draw(self, scenario: Scenario, i: float, phase: float) -> BgrImage:
        pose = scenario.pose(i, phase)
        background = self._backgrounds[pose.flipped]
        if scenario.camera:
            background = _seen(background, pose)
        image = background.copy()
        if pose.height:
            source = self._portrait[:, ::-1] if pose.flipped else self._portrait
            scale, centre = _placing(pose)
            matrix = np.array(
                [[scale, 0, pose.x - scale * centre[0]], [0, scale, pose.y - scale * centre[1]]]
            )
            if scale < 0.5:
                # Reduced first, as a camera's optics would: plain warping aliases.
                small = cv2.resize(source, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                matrix[:, :2] /= scale
                source = np.asarray(small, np.uint8)
            cv2.warpAffine(
                source,
                matrix,
                (WIDTH, HEIGHT),
                dst=image,
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_TRANSPARENT,
            )
        bar = _bar_columns(scenario, i, phase)
        image[:, bar] = background[:, bar] // 2 + 40
        return image

    def _truth(self, scenario: Scenario, i: float, phase: float) -> Truth:
        pose = scenario.pose(i, phase)
        ellipse = np.zeros((HEIGHT, WIDTH), np.bool_)
        half_y = pose.height / 2
        half_x = half_y * (FACE[2] - FACE[0]) / (FACE[3] - FACE[1])
        if pose.height:
            y, x = np.ogrid[:HEIGHT, :WIDTH]
            ellipse = (((x + 0.5 - pose.x) / half_x) ** 2 + ((y + 0.5 - pose.y) / half_y) ** 2) <= 1
        visible = ellipse.copy()
        visible[:, _bar_columns(scenario, i, phase)] = False
        return Truth(ellipse, visible, math.pi * half_x * half_y, pose.height, pose.shot)


def _fitted(photograph: BgrImage) -> BgrImage:
    """A photograph, RGB or grey, that fills the frame, BGR."""
    code = cv2.COLOR_GRAY2BGR if photograph.ndim == 2 else cv2.COLOR_RGB2BGR
    whole = cv2.resize(cv2.cvtColor(photograph, code), (WIDTH, HEIGHT))
    return np.asarray(whole, np.uint8)


def _seen(background: BgrImage, pose: Pose) -> BgrImage:
    """A background as the camera sees it that sees the face there; repeated beyond its edges."""
    scale = max(pose.height / 90, 0.3)
    matrix = np.array(
        [[scale, 0, pose.x - scale * WIDTH / 2], [0, scale, pose.y - scale * HEIGHT / 2]]
    )
    seen = cv2.warpAffine(
        background, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    return np.asarray(seen, np.uint8)


def _placing(pose: Pose) -> tuple[float, tuple[float, float]]:
    """Scale of the portrait, and the face's centre in it."""
    x = (FACE[0] + FACE[2]) / 2
    return pose.height / (FACE[3] - FACE[1]), (
        512 - x if pose.flipped else x,
        (FACE[1] + FACE[3]) / 2,
    )


def _bar_columns(scenario: Scenario, i: float, phase: float) -> slice:
    if scenario.occluder is None:
        return slice(0, 0)
    left, right = (min(max(round(edge * WIDTH), 0), WIDTH) for edge in scenario.occluder(i, phase))
    return slice(left, right)
