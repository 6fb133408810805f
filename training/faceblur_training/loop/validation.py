"""Measure a model on held-out images while it trains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceblur.detections import box_iou
from faceblur_export.evaluation.metrics import (
    UNMATCHED,
    average_precision,
    match_greedily,
)
from faceblur_export.network import YOLOv5Face
from faceblur_training.data.pack import Pack
from faceblur_training.loop.teacher_labels import look

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
        found = look(network, pack.image(number), size, least=MIN_SCORE)
        found = found[np.argsort(-found[:, 4], kind="stable")]
        matched = match_greedily(box_iou(found[:, :4], faces[:, :4])) != UNMATCHED
        scores += found[:, 4].tolist()
        hits += matched.tolist()
    if not total or not scores:
        return 0.0
    right = np.asarray(hits)[np.argsort(-np.asarray(scores), kind="stable")]
    true = np.cumsum(right)
    return float(average_precision(true / np.arange(1, len(right) + 1), true / total))
