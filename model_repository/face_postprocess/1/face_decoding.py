"""Decode YOLOv5-face candidates and suppress overlaps: the one implementation.

It lives in the model repository because Triton runs it where the faceblur package is not
installed; the package loads it from here. numpy only.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

IOU_THRESHOLD = 0.5
"""Overlap above which the lower score of two boxes is dropped."""

ROW_WIDTH = 15
"""Columns of a face: x1 y1 x2 y2 score, five landmarks (x, y)."""


def find_faces(
    candidates: FloatArray,
    priors: FloatArray,
    min_scores: npt.NDArray[Any],
    *,
    iou_threshold: float = IOU_THRESHOLD,
) -> list[FloatArray]:
    """Turn the detector's raw candidates into faces.

    Args:
        candidates: (B, K, 16) float32, raw head values: x y w h, objectness, five landmarks
            (x, y), class; in any order.
        priors: (B, K, 5) float32: cell x, cell y, stride, anchor width, anchor height; the last
            three in pixels of the model input.
        min_scores: (B,) lowest score that counts, for each image.
        iou_threshold: Overlap above which the lower score is dropped.

    Returns:
        For each image an array (N, 15) float32, best score first, in pixels of the model
        input: x1 y1 x2 y2 score, five landmarks.

    Raises:
        ValueError: The arrays do not fit each other, hold values that are not finite, or the
            image may have faces that did not fit into the candidates.
    """
    batch, count = candidates.shape[:2]
    expected = ((batch, count, 16), (batch, count, 5), (batch,))
    if (candidates.shape, priors.shape, min_scores.shape) != expected:
        raise ValueError(
            f"candidates {candidates.shape}, priors {priors.shape} and min_scores "
            f"{min_scores.shape} do not fit each other"
        )
    scores = _sigmoid(candidates[:, :, 4]) * _sigmoid(candidates[:, :, 15])
    # A model that has gone wrong must fail the request, not report an empty street.
    if not np.isfinite(scores).all():
        raise ValueError("the detector's scores are not finite")
    counts = scores > min_scores.astype(np.float32)[:, None]
    for index in np.nonzero(counts.all(axis=1))[0]:
        _check_complete(priors[index], scores[index])
    image, row = np.nonzero(counts)
    decoded = decode(candidates[image, row], priors[image, row])
    decoded[:, 4] = scores[image, row]
    if not np.isfinite(decoded).all():
        raise ValueError("the detector's boxes are not finite")
    ends = np.searchsorted(image, np.arange(batch + 1))
    return [
        suppress(decoded[start:end], iou_threshold=iou_threshold) for start, end in pairwise(ends)
    ]


def answer(
    candidates: FloatArray,
    priors: FloatArray,
    *,
    min_scores: npt.NDArray[Any] | None,
    geometry: FloatArray | None,
    default_min_score: float,
) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Find the faces of a request's images, as the tensors `faces` and `face_count`.

    Args:
        candidates: See `find_faces`.
        priors: See `find_faces`.
        min_scores: (B, 1) or (B,) lowest score that counts, for each image.
        geometry: (B, 4) what takes the faces to the images (see `to_image`); they stay in
            pixels of the model input without.
        default_min_score: For requests that bring no min_scores.

    Returns:
        See `pad`.

    Raises:
        ValueError: The request cannot be answered.
    """
    if min_scores is None:
        min_scores = np.full(len(candidates), default_min_score)
    min_scores = min_scores.reshape(-1)
    if not ((min_scores >= 0) & (min_scores <= 1)).all():
        raise ValueError("min_score must lie between 0 and 1")
    found = find_faces(candidates, priors, min_scores)
    if geometry is not None:
        found = [to_image(*each) for each in zip(found, geometry, strict=True)]
    return pad(found)


def decode(candidates: FloatArray, priors: FloatArray) -> FloatArray:
    """Place raw candidates (N, 16) with their priors (N, 5); rows (N, 15) without suppression.

    The formulas are those of YOLOv5-face (arXiv 2105.12931 and its reference code): with t the
    raw value, centre = (2σ(t) - 0.5 + cell) · stride, size = (2σ(t))² · anchor, and landmarks,
    which pass no sigmoid, t · anchor + cell · stride.
    """
    cell, stride, anchor = priors[:, 0:2], priors[:, 2:3], priors[:, 3:5]
    centre = (_sigmoid(candidates[:, 0:2]) * 2 - 0.5 + cell) * stride
    half = (_sigmoid(candidates[:, 2:4]) * 2) ** 2 * anchor / 2
    landmarks = candidates[:, 5:15].reshape(-1, 5, 2) * anchor[:, None] + (cell * stride)[:, None]
    faces = np.empty((len(candidates), ROW_WIDTH), np.float32)
    faces[:, 0:2] = centre - half
    faces[:, 2:4] = centre + half
    faces[:, 4] = _sigmoid(candidates[:, 4]) * _sigmoid(candidates[:, 15])
    faces[:, 5:15] = landmarks.reshape(-1, 10)
    return faces


def suppress(faces: FloatArray, *, iou_threshold: float = IOU_THRESHOLD) -> FloatArray:
    """Greedy non-maximum suppression of rows (N, 15); the rows that stay, best score first."""
    faces = faces[np.argsort(-faces[:, 4], kind="stable")]
    x1, y1, x2, y2 = faces[:, :4].T
    area = (x2 - x1) * (y2 - y1)
    order = np.arange(len(faces))
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        union = area[best] + area[rest] - overlap
        order = rest[overlap <= iou_threshold * union]
    return faces[kept]


def _check_complete(priors: FloatArray, scores: FloatArray) -> None:
    """Refuse an image whose candidates ran out before its faces did.

    The detector passes on the best anchor of every cell first and the spare ones after. So the
    candidates were enough if a cell comes twice; if none does and all count, cells are missing.
    """
    cells = np.unique(priors[:, :3], axis=0)
    if len(scores) > 1 and len(cells) == len(scores):
        raise ValueError(
            f"more than {len(scores)} places may be faces; raise the threshold or detect in parts "
            "of the image"
        )


def to_image(faces: FloatArray, mapping: FloatArray) -> FloatArray:
    """Move faces from the model input to the image that was put into it.

    Args:
        faces: (N, 15) rows in pixels of the model input.
        mapping: (4,) scale x, scale y, left, top: a point p goes to (p - left or top) · scale.

    Returns:
        (N, 15) rows in pixels of the image.

    Raises:
        ValueError: The mapping does not place an image.
    """
    if mapping.shape != (4,) or not np.isfinite(mapping).all() or not (mapping[:2] > 0).all():
        raise ValueError(f"the geometry {mapping.tolist()} does not place an image")
    scale, shift = mapping[:2], mapping[2:]
    moved = faces.copy()
    for columns in (slice(0, 4), slice(5, ROW_WIDTH)):
        points = faces[:, columns]
        moved[:, columns] = ((points.reshape(-1, 2) - shift) * scale).reshape(points.shape)
    return moved


def pad(faces: list[FloatArray]) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Stack faces of several images: (B, N, 15) float32 filled up with zeros, (B, 1) counts.

    N is at least 1, because a tensor without elements does not survive every transport.
    """
    counts = np.array([[len(rows)] for rows in faces], np.int32).reshape(-1, 1)
    stacked = np.zeros((len(faces), max(1, counts.max(initial=0)), ROW_WIDTH), np.float32)
    for target, rows in zip(stacked, faces, strict=True):
        target[: len(rows)] = rows
    return stacked, counts


def _sigmoid(values: FloatArray) -> FloatArray:
    # tanh cannot overflow, exp can.
    half = np.float32(0.5)
    squashed: FloatArray = np.tanh(values * half) * half + half
    return squashed
