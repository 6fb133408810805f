"""Which detection belongs to which track."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from faceblur.boxes import box_iou
from faceblur.detections import FloatArray

_REACH: Final = 0.8
"""Distance of centres that is always bridged, in sizes of the face."""
_REACH_PER_S: Final = 2.0
"""What is added for each second since the face was seen."""
_STRIDE_PER_S: Final = 8.0
"""Speed of somebody who hurries past; sizes of the face per second."""
_LEAP_PER_S: Final = 45.0
"""Speed of a face, or of a camera, that is swept round; sizes of the face per second."""
_MAX_LEAP: Final = 6.0
SWEPT_S: Final = 0.35
"""Time that may be leapt over, or twice the time between detections where that is longer."""
_MAX_RATIO: Final = 2.0
"""Sizes further apart than this are not of the same face."""


def stroll(elapsed_s: FloatArray, *, is_paced: npt.NDArray[np.bool_] | None = None) -> FloatArray:
    """How far a face may be from where it is expected, in its sizes, after some time.

    Args:
        elapsed_s: (T,) time since each face was seen.
        is_paced: (T,) whether the pace of each is known, and where it is expected by that; all
            are, if None.
    """
    reach: FloatArray = np.float32(_REACH) + np.float32(_REACH_PER_S) * elapsed_s
    if is_paced is None:
        return reach
    stride = np.minimum(_MAX_LEAP, np.float32(_STRIDE_PER_S) * elapsed_s)
    return np.where(is_paced, reach, np.maximum(reach, stride)).astype(np.float32)


def leap(elapsed_s: FloatArray, *, rhythm_s: float) -> FloatArray:
    """The same for one that nothing else explains: lost in motion blur, found far away.

    Args:
        elapsed_s: (T,) time since each face was seen.
        rhythm_s: Time between detections.
    """
    limit_s = max(SWEPT_S, 2 * rhythm_s + 1e-3)
    return np.where(elapsed_s <= limit_s, _leap(elapsed_s), 0).astype(np.float32)


def swept(box: FloatArray, found: FloatArray) -> npt.NDArray[np.bool_]:
    """Which boxes (N, 4) a face may be in that was swept away; it was in `box` (4,), xyxy."""
    size = np.sqrt(max(1e-6, float((box[2] - box[0]) * (box[3] - box[1]))))
    apart = (found[:, :2] + found[:, 2:] - box[:2] - box[2:]) / 2
    near: npt.NDArray[np.bool_] = np.hypot(apart[:, 0], apart[:, 1]) <= _MAX_LEAP * size
    return near


def ways(before: FloatArray, after: FloatArray, elapsed_s: float) -> list[tuple[int, int]]:
    """Which faces of one detection pass can be which of the next one.

    Args:
        before: (M, 4) boxes, xyxy.
        after: (N, 4) boxes.
        elapsed_s: Time from one to the other.
    """
    if not len(before) or not len(after):
        return []
    elapsed = np.full(len(before), elapsed_s, np.float32)
    fit = affinities(before, after, np.maximum(_leap(elapsed), stroll(elapsed)))
    rows, columns = np.nonzero(fit > 0)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _leap(elapsed_s: FloatArray) -> FloatArray:
    reach: FloatArray = np.minimum(_MAX_LEAP, _LEAP_PER_S * elapsed_s).astype(np.float32)
    return reach


def affinities(expected: FloatArray, found: FloatArray, reach: FloatArray) -> FloatArray:
    """How well boxes fit: overlap plus nearness.

    Args:
        expected: (T, 4) boxes where tracks should be, xyxy.
        found: (N, 4) boxes.
        reach: (T,) distance of centres at which a face is another one, in sizes of the face.

    Returns:
        (T, N) from 0 (cannot be the same face) to 2.
    """
    a, b = expected[:, None], found[None]
    sides_a, sides_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    area_a, area_b = sides_a.prod(-1), sides_b.prod(-1)
    size_a, size_b = np.sqrt(np.maximum(area_a, 1e-6)), np.sqrt(np.maximum(area_b, 1e-6))
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    distance = np.hypot(apart[..., 0], apart[..., 1])
    far = np.maximum(np.maximum(size_a, size_b) * reach[:, None], 1e-6)
    nearness = 1 - distance / far
    ratio = np.maximum(size_a / size_b, size_b / size_a)
    possible = (nearness > 0) & (ratio < _MAX_RATIO)
    return np.where(possible, box_iou(expected, found) + nearness, 0).astype(np.float32)


def pair(fit: FloatArray) -> list[tuple[int, int]]:
    """Pair rows with columns, best fit first, each at most once; 0 is no fit."""
    rows, columns = np.nonzero(fit > 0)
    order = np.argsort(-fit[rows, columns], kind="stable")
    pairs: list[tuple[int, int]] = []
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
            pairs.append((row, column))
    return pairs
