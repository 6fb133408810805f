"""Training samples, rendered as planned: mosaics of warped, damaged images with their faces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.detection.letterbox import PAD_VALUE
from faceblur_export.data.image_files import RgbImage
from faceblur_training.augmentation.damage import FloatArray, damaged
from faceblur_training.augmentation.plan import MatrixArray, Plan, Tile, shift
from faceblur_training.data.pack import FACE_WIDTH, Pack

MIRROR = (1, 0, 2, 4, 3)
"""Order of the landmarks after a left-right flip."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A rendered sample.

    Attributes:
        image: (side, side, 3) uint8 RGB.
        undamaged: The same before the damage.
        faces: (N, 15) float32 in sample pixels, as in a pack.
        known: (side/8, side/8) bool, cells where a person listed the faces.
    """

    image: RgbImage
    undamaged: RgbImage
    faces: FloatArray
    known: npt.NDArray[np.bool_] = field(repr=False)


def render(pack: Pack, plan: Plan) -> Sample:
    """Draw a planned sample."""
    image = np.full((plan.side, plan.side, 3), PAD_VALUE, np.uint8)
    known = np.zeros((plan.side // 8, plan.side // 8), np.bool_)
    faces = [np.zeros((0, FACE_WIDTH), np.float32)]
    for tile in plan.tiles:
        x1, y1, x2, y2 = tile.window
        image[y1:y2, x1:x2] = _warp(pack.image(tile.number), tile)
        entry = pack.entry(tile.number)
        faces.append(move_faces(entry.faces, tile))
        if entry.labelled:
            known[y1 // 8 : y2 // 8, x1 // 8 : x2 // 8] = True
    return Sample(
        damaged(image, plan.damage, noise_seed=plan.noise_seed), image, np.concatenate(faces), known
    )


def move_faces(faces: FloatArray, tile: Tile) -> FloatArray:
    """Faces of an image as they lie in a sample; cut-off ones are dropped.

    A face stays when more than 40 % of its box is visible and it is at least 3 px high.
    """
    if not len(faces):
        return np.zeros((0, FACE_WIDTH), np.float32)
    corners = faces[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    moved = _project(corners, tile.matrix)
    # Between the hull of the turned corners and the middles of its sides lies the head.
    hull = np.concatenate([moved.min(1), moved.max(1)], 1)
    sides = (moved + np.roll(moved, 1, axis=1)) / 2
    inner = np.concatenate([sides.min(1), sides.max(1)], 1)
    boxes = (hull + inner) / 2 if abs(tile.matrix[0, 1]) > 0.05 * tile.scale else hull
    limit = np.asarray([*tile.window[:2], *tile.window[:2]]), np.asarray([*tile.window[2:]] * 2)
    clipped = np.clip(boxes, *limit)
    whole = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    visible = np.prod(clipped[:, 2:] - clipped[:, :2], 1)
    keep = (visible > 0.4 * whole) & (clipped[:, 3] - clipped[:, 1] >= 3)
    points = _project(faces[:, 5:].reshape(-1, 5, 2), tile.matrix)
    if tile.mirrored:
        points = points[:, MIRROR]
    table = np.concatenate([clipped, faces[:, 4:5], points.reshape(-1, 10)], 1)
    return np.asarray(table[keep], np.float32)


def _project(points: npt.NDArray[Any], matrix: MatrixArray) -> MatrixArray:
    homogeneous = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(homogeneous[..., :2] / homogeneous[..., 2:], np.float64)


def _warp(image: RgbImage, tile: Tile) -> RgbImage:
    x1, y1, x2, y2 = tile.window
    matrix = shift(np.asarray([-x1, -y1])) @ tile.matrix
    if tile.scale < 0.7:
        # Bilinear sampling aliases when it shrinks: average first, then warp at about 1:1.
        height, width = image.shape[:2]
        size = (max(8, round(width * tile.scale)), max(8, round(height * tile.scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        ratio = np.asarray([width / size[0], height / size[1]])
        # Pixel centres: p = (q + ½)·ratio − ½.
        matrix = matrix @ shift(ratio / 2 - 0.5) @ np.diag([*ratio, 1.0])
    warp = cv2.warpPerspective
    if not matrix[2, :2].any():
        # The same for a matrix without tilt, and faster.
        warp, matrix = cv2.warpAffine, matrix[:2]
    warped = warp(
        image,
        matrix,
        (x2 - x1, y2 - y1),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP if tile.repeated else cv2.BORDER_CONSTANT,
        borderValue=(PAD_VALUE,) * 3,
    )
    return np.asarray(warped, np.uint8)
