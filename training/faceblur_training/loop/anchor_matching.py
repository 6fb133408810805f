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
    """All (face, anchor, cell) triples of one level, M of them, and which of them answer.

    Their number follows from that of the faces alone: to count those that answer, a GPU would
    have to be waited for.

    Attributes:
        answers: (M,) float, 1 where the anchor answers for the face, else 0.
        image: (M,) index in the batch.
        anchor: (M,) index of the anchor in its cell.
        y: (M,) row of the cell.
        x: (M,) column of the cell.
        face: (M,) index of the face in the table that was matched.
    """

    answers: Tensor
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
        cell = centres / stride
        # The neighbour on the side of the centre: predicted centres reach 0.5 beyond a cell.
        near = torch.where(cell % 1 < 0.5, -1, 1)
        own = cell.floor().long()
        # (3 cells, N faces), for every anchor (A).
        x = torch.stack([own[:, 0], own[:, 0] + near[:, 0], own[:, 0]])
        y = torch.stack([own[:, 1], own[:, 1], own[:, 1] + near[:, 1]])
        inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
        face = torch.arange(len(boxes), device=boxes.device)
        which = torch.arange(len(anchor), device=boxes.device)
        triples = (
            (fits & inside[..., None]).float(),
            images[:, None],
            which,
            y.clamp(0, rows - 1)[..., None],
            x.clamp(0, columns - 1)[..., None],
            face[:, None],
        )
        levels.append(Matches(*(t.expand(3, *fits.shape).flatten() for t in triples)))
    return levels
