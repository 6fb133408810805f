"""Follow what is in a box through the image's own motion, for faces that no detector finds.

Points in the box are sought in the next frame by optical flow, and back again; those that do not
come back to where they were say nothing. The others vote on how the box has moved and grown.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.detections import Float64Array
from faceblur.image.pixels import Array

_SIDE: Final = 72
"""Pixels that the longer side of a box has while its points are sought."""

_AROUND: Final = 1.0
"""How far a face may move between frames, in its own sizes."""

_CORNERS: Final = 60
_GRID: Final = 9
_RETURN: Final = 1.5
"""How far from its place a point may come back, pixels of `_SIDE`."""

_MIN_POINTS: Final = 8
_MIN_SHARE: Final = 0.25
_MAX_SPREAD: Final = 5.0
"""How much points may differ in their motion, pixels of `_SIDE`."""

_MAX_ZOOM: Final = 1.1
"""Of one step."""

_MIN_LIKENESS: Final = 0.4
"""Correlation of the box's content before and after a step."""

Points = npt.NDArray[np.float32]


class Follower:
    """Follows one box from frame to frame.

    Args:
        luma: (H, W) brightness of the frame that the box is in, uint8 or uint16.
        box: (4,) x1 y1 x2 y2, pixels.
        white: The largest value of `luma`.
    """

    def __init__(self, luma: Array, box: Float64Array, *, white: float = 255.0) -> None:
        self.box = np.asarray(box, np.float64)
        self._luma = luma
        self._white = white

    def step(self, luma: Array) -> bool:
        """Move the box to where its content is in another frame, which is like `luma` above.

        Returns:
            Whether it was found. If not, the box stays, and the next step is from the frame where
            it was found last.
        """
        if luma.shape != self._luma.shape:
            return False
        region = self._region(luma.shape)
        size = float(max(self.box[2:] - self.box[:2]))
        if region is None or size <= 0:
            return False
        scale = _SIDE / size
        before, after = (self._patch(each, region, scale) for each in (self._luma, luma))
        # Patches have whole pixels: the scale is what came out.
        scales = np.array(before.shape[::-1], np.float64) / np.array(
            [region[2] - region[0], region[3] - region[1]], np.float64
        )
        origin = np.array(region[:2], np.float64)
        box = ((self.box.reshape(2, 2) - origin) * scales).ravel()
        moved = _moved(before, after, box)
        if moved is None:
            return False
        moved = (moved.reshape(2, 2) / scales + origin).ravel()
        middle = (moved[:2] + moved[2:]) / 2
        if not (0 <= middle[0] < luma.shape[1] and 0 <= middle[1] < luma.shape[0]):
            return False
        self.box, self._luma = moved, luma
        return True

    def _region(self, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
        """The part of the frame that is compared, whole pixels; None if it is next to nothing."""
        reach = _AROUND * max(self.box[2:] - self.box[:2])
        x0, y0 = np.maximum(np.floor(self.box[:2] - reach), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(self.box[2:] + reach), (shape[1], shape[0])).astype(int)
        return (x0, y0, x1, y1) if x1 - x0 >= 4 and y1 - y0 >= 4 else None

    def _patch(self, luma: Array, region: tuple[int, int, int, int], scale: float) -> Array:
        x0, y0, x1, y1 = region
        part = np.ascontiguousarray(luma[y0:y1, x0:x1])
        if part.dtype != np.uint8:
            part = cv2.convertScaleAbs(part, alpha=255 / self._white)
        wanted = max(8, round((x1 - x0) * scale)), max(8, round((y1 - y0) * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(part, wanted, interpolation=how))


def _moved(before: Array, after: Array, box: Float64Array) -> Float64Array | None:
    """Where a box of one patch is in the other; None if too few points agree."""
    start = _points(before, box)
    if len(start) < _MIN_POINTS:
        return None
    end, there = _flow(before, after, start)
    again, back = _flow(after, before, end)
    sure = there & back
    sure &= np.linalg.norm(again - start, axis=1) < _RETURN
    if sure.sum() < max(_MIN_POINTS, _MIN_SHARE * len(start)):
        return None
    a, b = start[sure].astype(np.float64), end[sure].astype(np.float64)
    way = b - a
    off = np.linalg.norm(way - np.median(way, axis=0), axis=1)
    if np.median(off) > _MAX_SPREAD:
        return None
    agree = off <= max(1.0, 2.5 * float(np.median(off)))
    a, b = a[agree], b[agree]
    zoom = _zoom(a, b)
    corners = box.reshape(2, 2)
    moved = b.mean(axis=0) + zoom * (corners - a.mean(axis=0))
    likeness = _likeness(_content(before, corners), _content(after, moved))
    return None if likeness < _MIN_LIKENESS else moved.ravel()


def _flow(before: Array, after: Array, points: Points) -> tuple[Points, npt.NDArray[np.bool_]]:
    """Where points have gone, and of which that is known."""
    end, known, _ = cv2.calcOpticalFlowPyrLK(
        before, after, points, points.copy(), winSize=(15, 15), maxLevel=3
    )
    return np.asarray(end, np.float32), np.asarray(known).ravel().astype(bool)


def _points(patch: Array, box: Float64Array) -> Points:
    """Points in the ellipse in a box: its corners show what is behind."""
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * 0.85
    inside = np.zeros(patch.shape, np.uint8)
    cv2.ellipse(
        inside, np.rint(middle).astype(int).tolist(), np.rint(half).astype(int).tolist(),
        0, 0, 360, (255,), -1,
    )  # fmt: skip
    corners = cv2.goodFeaturesToTrack(patch, _CORNERS, 0.01, 3, mask=inside)
    steps = np.linspace(-1, 1, _GRID)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    grid = (middle + half * grid[np.hypot(*grid.T) < 1]).astype(np.float32)
    found = grid[:0] if corners is None else corners.reshape(-1, 2)
    points = np.concatenate([found, grid])
    fits = (points >= 0).all(axis=1) & (points < patch.shape[::-1]).all(axis=1)
    return np.ascontiguousarray(points[fits], np.float32)


def _zoom(a: Float64Array, b: Float64Array) -> float:
    """How much farther points are from each other, by the median of all pairs."""
    first, second = np.triu_indices(len(a), 1)
    apart = np.linalg.norm(a[first] - a[second], axis=1)
    far = apart > _SIDE / 8
    if far.sum() < _MIN_POINTS:
        return 1.0
    ratios = np.linalg.norm(b[first] - b[second], axis=1)[far] / apart[far]
    return float(np.clip(np.median(ratios), 1 / _MAX_ZOOM, _MAX_ZOOM))


def _content(patch: Array, corners: Float64Array) -> Array:
    """What is in a box, always as many pixels."""
    size = np.maximum(corners[1] - corners[0], 1.0)
    scale = 32 / size
    matrix = np.array(
        [[scale[0], 0, -corners[0, 0] * scale[0]], [0, scale[1], -corners[0, 1] * scale[1]]]
    )
    return np.asarray(cv2.warpAffine(patch, matrix, (32, 32), borderMode=cv2.BORDER_REPLICATE))


def _likeness(a: Array, b: Array) -> float:
    return float(cv2.matchTemplate(a, b, cv2.TM_CCOEFF_NORMED)[0, 0])
