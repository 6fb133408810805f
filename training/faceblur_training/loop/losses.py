"""The losses of YOLOv5-face, against labels and against the maps of a teacher.

All are sums over anchors divided by the amount of "face" in the batch (matched anchors for
labels, summed objectness for a teacher), so that their balance does not depend on batch or size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from faceblur_training.loop.anchor_matching import Matches, match

WING_WIDTH = 10.0
WING_CURVE = 2.0

IMITATED_OF = 8
FEWEST_IMITATED = 256
"""One anchor in so many, the likeliest, and no fewer than this many are compared with a teacher."""


@dataclass(frozen=True)
class Gains:
    """How much each part counts."""

    box: float = 2.0
    objectness: float = 1.0
    landmarks: float = 0.5
    classes: float = 0.3
    raw: float = 0.5


@dataclass(frozen=True)
class Grid:
    """Geometry of the head: what turns raw maps into pixels.

    Attributes:
        anchors: (levels, A, 2) pixels.
        strides: Pixels per cell.
    """

    anchors: Tensor
    strides: tuple[int, ...]

    def boxes(self, raw: Tensor, level: int, anchor: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """(M, ≥4) raw values at cells → (M, 4) centre x y, width, height in pixels."""
        cell = torch.stack((x, y), 1)
        size = self.anchors[level][anchor]
        xy = (raw[:, :2].sigmoid() * 2 - 0.5 + cell) * self.strides[level]
        wh = (raw[:, 2:4].sigmoid() * 2) ** 2 * size
        return torch.cat((xy, wh), 1)


def ciou(first: Tensor, second: Tensor) -> Tensor:
    """Complete IoU of boxes (M, 4) as centre x y, width, height; (M,), at most 1.

    IoU less the squared distance of centres over the squared diagonal of the hull, less a term
    for unequal aspect (Zheng et al. 2020, "Distance-IoU loss").
    """
    half_a, half_b = first[:, 2:] / 2, second[:, 2:] / 2
    low_a, high_a = first[:, :2] - half_a, first[:, :2] + half_a
    low_b, high_b = second[:, :2] - half_b, second[:, :2] + half_b
    shared = (torch.min(high_a, high_b) - torch.max(low_a, low_b)).clamp(min=0).prod(1)
    union = first[:, 2:].prod(1) + second[:, 2:].prod(1) - shared + 1e-7
    iou = shared / union
    hull = torch.max(high_a, high_b) - torch.min(low_a, low_b)
    diagonal = hull.square().sum(1) + 1e-7
    distance = (first[:, :2] - second[:, :2]).square().sum(1)
    angle_a = torch.atan2(first[:, 2], first[:, 3].clamp(min=1e-7))
    angle_b = torch.atan2(second[:, 2], second[:, 3].clamp(min=1e-7))
    aspect = 4 / math.pi**2 * (angle_a - angle_b).square()
    with torch.no_grad():
        weight = aspect / (1 - iou + aspect + 1e-7)
    return iou - distance / diagonal - weight * aspect


def wing(error: Tensor) -> Tensor:
    """Wing loss of landmark errors: steep for small ones, linear beyond (Feng et al. 2018)."""
    size = error.abs()
    shift = WING_WIDTH - WING_WIDTH * math.log(1 + WING_WIDTH / WING_CURVE)
    near = WING_WIDTH * torch.log1p(size / WING_CURVE)
    return torch.where(size < WING_WIDTH, near, size - shift) / WING_WIDTH


def detection_loss(
    maps: Sequence[Tensor],
    faces: Tensor,
    images: Tensor,
    grid: Grid,
    *,
    gains: Gains,
    teacher: Sequence[Tensor] | None = None,
    known: Tensor | None = None,
) -> dict[str, Tensor]:
    """All losses on the head maps of one batch.

    Args:
        maps: Per level (B, A, ny, nx, 16) raw, float32.
        faces: (N, 15) faces in input pixels, as in a pack.
        images: (N,) index of the image each face lies in.
        grid: Geometry of the head.
        gains: Balance.
        teacher: Maps of a teacher for the same pixels. Without one, anchors that answer for no
            face are background where `known`, and are not asked elsewhere.
        known: (B, H/8, W/8) cells where a person listed the faces.

    Returns:
        Weighted scalars by name; their sum is the loss.
    """
    zero = maps[0].sum() * 0
    parts = dict.fromkeys(("box", "obj", "lmk", "cls", "raw"), zero)
    levels = match(
        faces[:, :4],
        images,
        anchors=grid.anchors,
        strides=grid.strides,
        shapes=[(m.shape[2], m.shape[3]) for m in maps],
    )
    target_boxes = torch.cat(((faces[:, :2] + faces[:, 2:4]) / 2, faces[:, 2:4] - faces[:, :2]), 1)
    weights = [faces[m.face, 4] * m.answers for m in levels]
    mass_labels = sum((w.sum() for w in weights), zero.detach()) + len(maps[0])
    mass_teacher = zero.detach() + len(maps[0])
    if teacher is not None:
        mass_teacher = mass_teacher + sum(t[..., 4].sigmoid().sum() for t in teacher)
    for level, (raw, found) in enumerate(zip(maps, levels, strict=True)):
        rows = _rows(raw)
        taught = None if teacher is None else _rows(teacher[level])
        wanted, asked = _background(raw, level, grid, taught, known)
        if taught is not None:
            imitated = _imitate(rows, taught, raw.shape[:4], level, grid, gains)
            for name, value in imitated.items():
                parts[name] = parts[name] + value / mass_teacher
        if len(faces):
            places, weight = _places(found, raw.shape[:4]), weights[level]
            chosen = rows.index_select(0, places)
            boxes = grid.boxes(chosen, level, found.anchor, found.y, found.x)
            overlap = ciou(boxes, target_boxes[found.face])
            parts["box"] = parts["box"] + gains.box * (weight * (1 - overlap)).sum() / mass_labels
            parts["cls"] = (
                parts["cls"]
                + gains.classes * (weight * functional.softplus(-chosen[:, 15])).sum() / mass_labels
            )
            marks = _landmark_loss(
                chosen,
                faces[found.face],
                grid.anchors[level][found.anchor],
                torch.stack((found.x, found.y), 1),
                grid.strides[level],
            )
            parts["lmk"] = parts["lmk"] + gains.landmarks * (weight * marks).sum() / mass_labels
            goal = weight * overlap.detach().clamp(0, 1).to(wanted.dtype)
            wanted.scatter_reduce_(0, places, goal, "amax")
            asked.scatter_reduce_(0, places, found.answers.to(asked.dtype), "amax")
        bce = functional.binary_cross_entropy_with_logits(rows[:, 4], wanted, reduction="none")
        # The entropy of a soft target cannot be learned away; without it, zero is perfect.
        floor = _entropy(wanted)
        mass = mass_teacher if teacher is not None else mass_labels
        parts["obj"] = parts["obj"] + gains.objectness * (asked * (bce - floor)).sum() / mass
    return parts


def _rows(raw: Tensor) -> Tensor:
    """(B, A, ny, nx, 16) → (B·ny·nx·A, 16), without a copy where channels lie last in memory.

    Rows are picked with one index: on a GPU the gradient of several is sorted first.
    """
    return raw.permute(0, 2, 3, 1, 4).reshape(-1, raw.shape[-1])


def _places(found: Matches, shape: Sequence[int]) -> Tensor:
    """(M,) rows of the anchors of a level of shape (B, A, ny, nx) that answer for faces."""
    _, anchors, height, width = shape
    return ((found.image * height + found.y) * width + found.x) * anchors + found.anchor


def _background(
    raw: Tensor, level: int, grid: Grid, teacher: Tensor | None, known: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Objectness wanted of each row before faces are put in, and where it is asked for at all."""
    batch, anchors, height, width = raw.shape[:4]
    everywhere = torch.ones(batch * height * width * anchors, device=raw.device)
    if teacher is not None:
        return teacher[:, 4].sigmoid(), everywhere
    wanted = torch.zeros_like(everywhere)
    if known is None:
        return wanted, everywhere
    step = grid.strides[level] // 8
    cells = known[:, ::step, ::step, None].float()
    return wanted, cells.expand(batch, height, width, anchors).flatten()


def _imitate(
    rows: Tensor, teacher: Tensor, shape: Sequence[int], level: int, grid: Grid, gains: Gains
) -> dict[str, Tensor]:
    """Sums over the anchors where a teacher sees something, weighted by its objectness."""
    _, anchors, height, width = shape
    belief = teacher[:, 4].sigmoid()
    # As many in every step: to count those that count, a GPU would have to be waited for.
    most = min(len(belief), max(FEWEST_IMITATED, len(belief) // IMITATED_OF))
    weight, spots = belief.topk(most, sorted=False)
    weight = weight * (weight > 0.02)
    cell, anchor = spots // anchors, spots % anchors
    x, y = cell % width, cell // width % height
    mine, his = rows.index_select(0, spots), teacher.index_select(0, spots)
    boxes = [grid.boxes(values, level, anchor, y, x) for values in (mine, his)]
    geometry = functional.smooth_l1_loss(mine[:, :4], his[:, :4], reduction="none", beta=0.5)
    marks = functional.smooth_l1_loss(mine[:, 5:15], his[:, 5:15], reduction="none", beta=0.05)
    goal = his[:, 15].sigmoid()
    kinds = functional.binary_cross_entropy_with_logits(mine[:, 15], goal, reduction="none")
    kinds = kinds - _entropy(goal)
    return {
        "box": gains.box * (weight * (1 - ciou(*boxes))).sum(),
        "raw": gains.raw * (weight * geometry.sum(1)).sum(),
        "lmk": gains.landmarks * (weight * marks.sum(1)).sum(),
        "cls": gains.classes * (weight * kinds).sum(),
    }


def _landmark_loss(
    raw: Tensor, faces: Tensor, anchors: Tensor, cells: Tensor, stride: int
) -> Tensor:
    """(M,) wing loss of the landmarks of matched anchors, zero where they are not labelled.

    Errors are measured in tenths of the anchor: in pixels, large faces would drown small ones.
    """
    points = faces[:, 5:].view(-1, 5, 2)
    labelled = points.isfinite().all(2).all(1)
    target = (points.nan_to_num() - cells[:, None] * stride) / anchors[:, None]
    error = raw[:, 5:15].view(-1, 5, 2) - target
    loss: Tensor = wing(error * 10).mean(dim=(1, 2)) * labelled
    return loss


def _entropy(chance: Tensor) -> Tensor:
    return -(torch.xlogy(chance, chance) + torch.xlogy(1 - chance, 1 - chance))
