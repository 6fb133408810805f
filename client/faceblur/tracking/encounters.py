"""Where two faces come so close that one may be taken for the other."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from faceblur.detections import Float64Array

BoolArray = npt.NDArray[np.bool_]

_REACH: Final = 1.8
"""Distance of centres, in sizes of the larger face."""
_REACH_PER_S: Final = 5.0
"""What is added for each second between two frames."""
_MAX_RATIO: Final = 2.5
"""Sizes further apart than this are not taken for each other, however close they are."""
_MARGIN: Final = 0.35
"""What is added to each side of a box, in its width and height, before boxes are said to meet."""


def rivals(boxes: Float64Array, interval_s: float) -> BoolArray:
    """Which faces of a frame may be taken for each other, there or in the next frame.

    Args:
        boxes: (N, 4) x1 y1 x2 y2, pixels.
        interval_s: Time to the next frame, or since the one before, whichever is longer.

    Returns:
        (N, N), true in neither direction for a face and itself.
    """
    sizes = np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(-1), 1e-6))
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    apart = np.hypot(*np.moveaxis(centres[:, None] - centres[None], -1, 0))
    larger = np.maximum(sizes[:, None], sizes[None])
    smaller = np.minimum(sizes[:, None], sizes[None])
    close = apart < larger * (_REACH + _REACH_PER_S * interval_s)
    found: BoolArray = close & (larger < _MAX_RATIO * smaller)
    np.fill_diagonal(found, False)
    return found


def meeting(boxes: Float64Array) -> BoolArray:
    """Which boxes of a frame overlap with what is around them; for the rest as `rivals`."""
    margin = (boxes[:, 2:] - boxes[:, :2]) * _MARGIN
    low, high = boxes[:, :2] - margin, boxes[:, 2:] + margin
    found: BoolArray = (low[:, None] < high[None]).all(-1) & (low[None] < high[:, None]).all(-1)
    np.fill_diagonal(found, False)
    return found
