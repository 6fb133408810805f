"""Ellipses that lean with the face, by its landmarks.

The box around a face that leans is nearly square, and an upright ellipse in it is too short for
the forehead and the chin. One that leans is covered in addition, so that landmarks, wherever they
are, never make a mask smaller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from faceblur.detections import Detections

FACE_ASPECT: Final = 1.3
"""Height of a face over its width."""

_UPRIGHT: Final = math.tan(math.radians(12))
"""The upright ellipse will do for a face that leans less."""

_MIN_LENGTH: Final = 0.15
_MAX_LENGTH: Final = 0.75
"""Distance from the eyes to the mouth, as a part of the box's mean side, that is credible."""

_ROUNDING: Final = 1e-4


@dataclass(frozen=True)
class TurnedEllipse:
    """An ellipse around the centre of a mask.

    Attributes:
        across: x and y of the unit vector along its shorter axis, divided by half its length.
        down: The same for its longer axis.
        extent: Half the width and half the height of its upright bounding box.
    """

    across: tuple[float, float]
    down: tuple[float, float]
    extent: tuple[float, float]

    def squares(
        self, offset: tuple[float, float], shape: tuple[int, int], step: tuple[int, int]
    ) -> tuple[npt.NDArray[np.float32], float]:
        """Squared distance of samples' middles from the centre, in half sizes of the ellipse.

        Args:
            offset: x and y of the first sample's upper left corner, from the centre, pixels.
            shape: Rows and columns of samples.
            step: Pixels across and down to a sample.

        Returns:
            The squares, float32; and by how much, at most, the distance of the nearest pixel that
            a sample stands for is less than that of its middle.
        """
        x = np.arange(shape[1], dtype=np.float32) * step[0] + np.float32(offset[0] + step[0] / 2)
        y = np.arange(shape[0], dtype=np.float32) * step[1] + np.float32(offset[1] + step[1] / 2)
        (a, b), (c, d) = self.across, self.down
        squares: npt.NDArray[np.float32] = np.multiply.outer(y * np.float32(2 * (a * b + c * d)), x)
        squares += x * x * np.float32(a * a + c * c)
        squares += (y * y * np.float32(b * b + d * d))[:, None]
        # What lies further from the middle of a sample, in each direction, adds up at most: so
        # whatever is covered on a fine plane is covered on a coarse one, too.
        corner = math.hypot(a, c) * step[0] / 2 + math.hypot(b, d) * step[1] / 2
        return squares, corner + _ROUNDING


def turned_ellipses(faces: Detections, *, expand: float) -> list[TurnedEllipse | None]:
    """The ellipses of faces that lean; None for those that do not, or where nothing tells.

    An ellipse has the proportions of a face and, turned upright, the same diagonal as the box. It
    covers all five landmarks if they lie in the box.

    Args:
        faces: With landmarks; they may be anything.
        expand: What is added on each side, as a fraction of the size.
    """
    return [
        _turned_ellipse(box, points, expand)
        for box, points in zip(faces.boxes.tolist(), faces.landmarks.tolist(), strict=True)
    ]


def _turned_ellipse(
    box: list[float], points: list[list[float]], expand: float
) -> TurnedEllipse | None:
    (left, right, nose, corner, other) = points
    down_x = corner[0] + other[0] - left[0] - right[0]
    down_y = corner[1] + other[1] - left[1] - right[1]
    if abs(down_x) <= _UPRIGHT * down_y:
        return None
    width, height = box[2] - box[0], box[3] - box[1]
    length, side = math.hypot(down_x, down_y) / 2, (width + height) / 2
    # Landmarks that are not numbers fail this, too.
    if not _MIN_LENGTH * side <= length <= _MAX_LENGTH * side:
        return None
    sine, cosine = down_x / (2 * length), down_y / (2 * length)
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half_across = math.hypot(width, height) / 2 / math.hypot(1, FACE_ASPECT)
    half_down = FACE_ASPECT * half_across
    # How far landmarks are out, at most; those beyond the box are not believed.
    out = max(
        (
            math.hypot(
                ((px - x) * cosine - (py - y) * sine) / half_across,
                ((px - x) * sine + (py - y) * cosine) / half_down,
            )
            for px, py in (left, right, nose, corner, other)
            if abs(px - x) <= width / 2 and abs(py - y) <= height / 2
        ),
        default=0.0,
    )
    scale = max(1 + 2 * expand, 1.02 * out)
    half_across, half_down = half_across * scale, half_down * scale
    return TurnedEllipse(
        across=(cosine / half_across, -sine / half_across),
        down=(sine / half_down, cosine / half_down),
        extent=(
            math.hypot(half_across * cosine, half_down * sine),
            math.hypot(half_across * sine, half_down * cosine),
        ),
    )
