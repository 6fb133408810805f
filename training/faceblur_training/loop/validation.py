"""Measure a model on held-out images while it trains."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from faceblur.boxes import box_iou
from faceblur.detection.letterbox import PAD_VALUE
from faceblur_export.data.image_files import RgbImage
from faceblur_export.evaluation.metrics import (
    UNMATCHED,
    average_precision,
    match_greedily,
)
from faceblur_export.network import YOLOv5Face
from faceblur_training.data.pack import FloatArray, Pack

MIN_SCORE = 0.02
CERTAIN = 0.5
"""Score from which a teacher's face counts as a face in a validation."""


def ap50(model: YOLOv5Face, pack: Pack, numbers: Sequence[int], *, size: int = 640) -> float:
    """Average precision at IoU 0.5 over some images of a pack.

    Faces a teacher found count where it is certain; where nobody labelled, this measures
    agreement with the teacher.

    Args:
        model: Any; it is folded into inference form first.
        pack: Images and faces.
        numbers: Which of its images.
        size: Longest side given to the network, pixels.

    Returns:
        0–1; 0 when the images hold no face.
    """
    network = model.fuse()
    scores: list[float] = []
    hits: list[bool] = []
    total = 0
    for number in numbers:
        faces = pack.entry(number).faces
        faces = faces[faces[:, 4] >= CERTAIN]
        total += len(faces)
        found = look(network, pack.image(number), size)
        found = found[np.argsort(-found[:, 4], kind="stable")]
        matched = match_greedily(box_iou(found[:, :4], faces[:, :4])) != UNMATCHED
        scores += found[:, 4].tolist()
        hits += matched.tolist()
    if not total or not scores:
        return 0.0
    right = np.asarray(hits)[np.argsort(-np.asarray(scores), kind="stable")]
    true = np.cumsum(right)
    return float(average_precision(true / np.arange(1, len(right) + 1), true / total))


def look(model: YOLOv5Face, image: RgbImage, side: int) -> FloatArray:
    """Faces in one pass from a score of `MIN_SCORE`, without duplicates.

    Args:
        model: In eval mode, on any device.
        image: (H, W, 3) uint8 RGB.
        side: Longest side given to the network, pixels.

    Returns:
        (N, 5) float32: box in pixels of the image, score; best first.
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
    canvas[: size[1], : size[0]] = resized
    device = next(model.parameters()).device
    pixels = torch.from_numpy(canvas).to(device).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        table = model.decode([m.float() for m in model(pixels)])[0]
        table = table[(table[:, 4] * table[:, 15]) > MIN_SCORE].cpu()
    values: FloatArray = table.numpy()
    boxes = values[:, :4].copy()
    boxes[:, :2] -= boxes[:, 2:] / 2
    scores = values[:, 4] * values[:, 15]
    keep: Sequence[int] = ()
    if len(values):
        keep = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), MIN_SCORE, 0.5)
    rows = np.column_stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:], scores])
    rows = rows[np.asarray(keep, np.intp).reshape(-1)] * [
        *(width / size[0], height / size[1]) * 2,
        1,
    ]
    rows[:, :4] = np.clip(rows[:, :4], 0, [width, height, width, height])
    return np.asarray(rows, np.float32)
