"""Overlap of boxes, greedy pairing of detections with faces, and average precision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

UNMATCHED = -1
"""Stands for "no face" in an array of face indices."""


def match_greedily(iou: Float64Array, *, threshold: float = 0.5) -> IntArray:
    """Give each detection at most one face and each face at most one detection.

    Detections choose in the order of the rows, which is by falling score: each takes the free face
    that it overlaps most. No detection depends on a later one, so the pairs above a score are the
    same whether or not there are detections below it.

    Args:
        iou: (detections, faces) overlaps, best score first.
        threshold: Smallest overlap that counts.

    Returns:
        (detections,) index of the face, or `UNMATCHED`.
    """
    matches = np.full(iou.shape[0], UNMATCHED, np.intp)
    if iou.shape[1] == 0:
        return matches
    free = np.array(iou, np.float64)
    for row in np.flatnonzero(iou.max(axis=1) >= threshold):
        face = int(free[row].argmax())
        if free[row, face] >= threshold:
            matches[row] = face
            free[:, face] = -1.0
    return matches


def average_precision(precision: npt.ArrayLike, recall: npt.ArrayLike) -> Float64Array:
    """Area under the precision envelope over all points, as in PASCAL VOC since 2010.

    Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 2015:
    the precision at a recall is the best one at that recall or any higher one.

    Args:
        precision: (..., points) precision, from the highest score threshold to the lowest.
        recall: (..., points) recall at the same thresholds, so never falling.

    Returns:
        (...) float64 in 0–1; 0 where there are no points.
    """
    p = np.asarray(precision, np.float64)
    r = np.asarray(recall, np.float64)
    envelope = np.maximum.accumulate(p[..., ::-1], axis=-1)[..., ::-1]
    gained: Float64Array = np.diff(r, axis=-1, prepend=0.0)
    area: Float64Array = np.asarray((gained * envelope).sum(axis=-1))
    return area


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Float64Array:
    """Divide element by element, with 0 where there is nothing to divide by."""
    a, b = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    quotient: Float64Array = np.divide(a, b, out=np.zeros(a.shape), where=b > 0)
    return quotient
