"""Let a teacher label images at several scales and mirrored, to be better than in one look.

Views of one image are merged: overlapping boxes become one, averaged by score, and the score of
the merged face is the mean over the better half of the views. A small face that only the enlarged
views see keeps a high score that way, and a chance hit in a single view does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from faceblur.detection.letterbox import PAD_VALUE
from faceblur.detections import box_iou
from faceblur_export.data.image_files import RgbImage
from faceblur_export.network import YOLOv5Face
from faceblur_training.data.pack import FACE_WIDTH, Entry
from faceblur_training.loop.augment import MIRROR

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Views:
    """How a teacher looks at an image.

    Attributes:
        sides: Longest side of the image in each look, pixels.
        mirrored: Whether every look is repeated mirrored.
        least: Lowest score of a merged face that is kept.
        overlap: IoU from which two boxes are the same face.
    """

    sides: tuple[int, ...] = (640, 1152)
    mirrored: bool = True
    least: float = 0.25
    overlap: float = 0.5


def label(teacher: YOLOv5Face, image: RgbImage, views: Views) -> FloatArray:
    """Faces a teacher sees in one image.

    Args:
        teacher: In eval mode.
        image: (H, W, 3) uint8 RGB.
        views: How to look.

    Returns:
        (N, 15) float32 as in a pack: box, score, landmarks, pixels of the image.
    """
    looks = []
    for side in views.sides:
        for mirrored in (False, True)[: 1 + views.mirrored]:
            looks.append(look(teacher, image, side, mirrored=mirrored))
    return merge(looks, least=views.least, overlap=views.overlap)


def merge(looks: Sequence[FloatArray], *, least: float, overlap: float) -> FloatArray:
    """Make one list of faces from those of several looks, each (N, 15) without duplicates."""
    rows = np.concatenate([np.zeros((0, FACE_WIDTH), np.float32), *looks])
    which = np.repeat(np.arange(len(looks)), [len(look) for look in looks])
    better = max(1, len(looks) // 2)
    free = np.ones(len(rows), np.bool_)
    merged = []
    for best in np.argsort(-rows[:, 4], kind="stable"):
        if not free[best]:
            continue
        group = free & (box_iou(rows[best, :4], rows[:, :4])[0] >= overlap)
        free &= ~group
        per_look = [rows[group & (which == i), 4].max(initial=0.0) for i in range(len(looks))]
        score = float(np.mean(sorted(per_look)[-better:]))
        if score >= least:
            weight = rows[group, 4:5] / rows[group, 4].sum()
            row = (rows[group] * weight).sum(0)
            row[4] = score
            merged.append(row)
    return np.asarray(merged, np.float32).reshape(-1, FACE_WIDTH)


def combine(entry: Entry, seen: FloatArray) -> FloatArray:
    """Human labels rule; a teacher adds landmarks to them, and faces where nobody labelled."""
    if not entry.labelled:
        return seen
    faces = entry.faces.copy()
    if len(seen) and len(faces):
        overlaps = box_iou(faces[:, :4], seen[:, :4])
        match = overlaps.argmax(1)
        usable = (overlaps.max(1) > 0.5) & np.isnan(faces[:, 5])
        faces[usable, 5:] = seen[match[usable], 5:]
    return faces


def look(
    model: YOLOv5Face, image: RgbImage, side: int, *, mirrored: bool = False, least: float = 0.05
) -> FloatArray:
    """Faces in one look, without duplicates.

    Args:
        model: In eval mode, on any device.
        image: (H, W, 3) uint8 RGB.
        side: Longest side given to the network, pixels.
        mirrored: Whether to look at the mirrored image (faces come back unmirrored).
        least: Lowest score.

    Returns:
        (N, 15) float32 as in a pack: box, score, landmarks, pixels of the image; best first.
    """
    height, width = image.shape[:2]
    scale = side / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 0.7 else cv2.INTER_LINEAR
    resized = cv2.resize(image, size, interpolation=how)
    step = model.stride
    canvas = np.full(
        (-(-size[1] // step) * step, -(-size[0] // step) * step, 3), PAD_VALUE, np.uint8
    )
    canvas[: size[1], : size[0]] = resized[:, ::-1] if mirrored else resized
    device = next(model.parameters()).device
    pixels = torch.from_numpy(canvas).to(device).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        table = model.decode([m.float() for m in model(pixels)])[0]
        table = table[(table[:, 4] * table[:, 15]) > least].cpu()
    values: FloatArray = table.numpy()
    rows = np.empty((len(values), FACE_WIDTH), np.float32)
    rows[:, :2] = values[:, :2] - values[:, 2:4] / 2
    rows[:, 2:4] = values[:, :2] + values[:, 2:4] / 2
    rows[:, 4] = values[:, 4] * values[:, 15]
    rows[:, 5:] = values[:, 5:15]
    if mirrored:
        rows[:, [0, 2]] = size[0] - rows[:, [2, 0]]
        points = rows[:, 5:].reshape(-1, 5, 2)
        points[..., 0] = size[0] - points[..., 0]
        rows[:, 5:] = points[:, MIRROR].reshape(-1, 10)
    boxes = np.concatenate([rows[:, :2], rows[:, 2:4] - rows[:, :2]], 1)
    keep = cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, 4].tolist(), least, 0.5) if len(rows) else []
    rows = rows[np.asarray(keep, np.intp).reshape(-1)]
    rows[:, [0, 2, 5, 7, 9, 11, 13]] *= width / size[0]
    rows[:, [1, 3, 6, 8, 10, 12, 14]] *= height / size[1]
    rows[:, [0, 2]] = np.clip(rows[:, [0, 2]], 0, width)
    rows[:, [1, 3]] = np.clip(rows[:, [1, 3]], 0, height)
    return np.asarray(rows, np.float32)
