"""Decide which anchors answer for which face, as YOLOv5 does.

A face goes to every anchor whose width and height are within a factor of four of its own, in the
cell that holds its centre and in the two nearest neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ANCHOR_RATIO = 4.0
"""Largest factor between the sides of a face and of an anchor that answers for it."""


@dataclass(frozen=True)
class Matches:
    """The (anchor, face) pairs of one level, M of them.

    Attributes:
        image: (M,) index in the batch.
        anchor: (M,) index of the anchor in its cell.
        y: (M,) row of the cell.
        x: (M,) column of the cell.
        face: (M,) index of the face in the table that was matched.
    """

    image: Tensor
    anchor: Tensor
    y: Tensor
    x: Tensor
    face: Tensor


def match(
    boxes: Tensor,
    images: Tensor,
    *,
    anchors: Tensor,
    strides: Sequence[int],
    shapes: Sequence[tuple[int, int]],
) -> list[Matches]:
    """Match the faces of a batch at every level.

    Args:
        boxes: (N, 4) x1 y1 x2 y2, input pixels.
        images: (N,) index of the image each lies in.
        anchors: (levels, A, 2) widths and heights, pixels.
        strides: Pixels per cell of each level.
        shapes: Rows and columns of cells of each level.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    sizes = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    levels = []
    for anchor, stride, (rows, columns) in zip(anchors, strides, shapes, strict=True):
        ratio = sizes[:, None] / anchor[None]
        fits = torch.max(ratio, 1 / ratio).amax(2) < ANCHOR_RATIO
        face, which = fits.nonzero(as_tuple=True)
        cell = centres[face] / stride
        # The neighbour on the side of the centre: predicted centres reach 0.5 beyond a cell.
        near = torch.where(cell % 1 < 0.5, -1, 1)
        zero = torch.zeros_like(near[:, 0])
        steps = torch.stack(
            [
                torch.stack([zero, zero], 1),
                torch.stack([near[:, 0], zero], 1),
                torch.stack([zero, near[:, 1]], 1),
            ]
        )
        spots = (cell.floor().long()[None] + steps).reshape(-1, 2)
        inside = (
            (spots[:, 0] >= 0) & (spots[:, 1] >= 0) & (spots[:, 0] < columns) & (spots[:, 1] < rows)
        )
        face, which = face.repeat(3)[inside], which.repeat(3)[inside]
        x, y = spots[inside].unbind(1)
        levels.append(Matches(images[face], which, y, x, face))
    return levels
