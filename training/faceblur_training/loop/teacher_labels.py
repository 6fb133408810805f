"""Let a teacher label images at several scales and mirrored, to be better than in one pass.

Views of one image are merged: overlapping boxes become one, averaged by score, and the score of
the merged face is the mean over the better half of the views. A small face that only the enlarged
views see keeps a high score that way, and a chance hit in a single view does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceblur.boxes import box_iou
from faceblur.detection.detector import Detector
from faceblur_export.data.image_files import RgbImage
from faceblur_export.evaluation.inference import detect_image
from faceblur_training.augmentation.sample import MIRROR
from faceblur_training.data.pack import FACE_WIDTH, Entry

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """One pass of a teacher over an image.

    Attributes:
        side: Longest side of the image given to the network, pixels.
        mirrored: Whether left and right are swapped.
    """

    side: int
    mirrored: bool = False


VIEWS = (View(640), View(640, mirrored=True), View(1152), View(1152))
"""What comes twice counts twice."""

SMALL, SMALL_VIEWS = 300, (View(448), View(448, mirrored=True))
"""Images of so many pixels at most show nothing more when they are enlarged further."""

LEAST_SEEN = 0.05
"""Lowest score of a face in a single pass."""


def label(
    teacher: Detector, entry: Entry, image: RgbImage, views: Sequence[View] = VIEWS
) -> FloatArray:
    """The faces of an image: those that a person listed, else those that a teacher sees.

    Args:
        teacher: The detector.
        entry: What is known about the image.
        image: (H, W, 3) uint8 RGB.
        views: The passes; one that comes twice counts twice.

    Returns:
        (N, 15) float32 as in a pack: box, score, landmarks, pixels of the image.
    """
    if entry.labelled and not np.isnan(entry.faces[:, 5]).any():
        return entry.faces
    if max(image.shape[:2]) <= SMALL:
        views = SMALL_VIEWS
    seen = {view: _faces(teacher, image, view) for view in dict.fromkeys(views)}
    return combine(entry, merge([seen[view] for view in views]))


def _faces(teacher: Detector, image: RgbImage, view: View) -> FloatArray:
    height, width = image.shape[:2]
    shown = np.ascontiguousarray(image[:, ::-1]) if view.mirrored else image
    found, letterbox = detect_image(teacher, shown, size=view.side, min_score=LEAST_SEEN)
    faces = letterbox.to_source(found)
    boxes = np.clip(faces.boxes, 0, [width, height, width, height])
    points = faces.landmarks.copy()
    if view.mirrored:
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        points[..., 0] = width - points[..., 0]
        points = points[:, MIRROR]
    return np.column_stack([boxes, faces.scores, points.reshape(-1, 10)]).astype(np.float32)


def merge(passes: Sequence[FloatArray], *, least: float = 0.25, overlap: float = 0.5) -> FloatArray:
    """Make one list of faces from those of several passes, each (N, 15) without duplicates.

    Boxes of which an IoU of `overlap` is shared are the same face; it is kept from a score of
    `least`.
    """
    rows = np.concatenate([np.zeros((0, FACE_WIDTH), np.float32), *passes])
    which = np.repeat(np.arange(len(passes)), [len(each) for each in passes])
    better = max(1, len(passes) // 2)
    free = np.ones(len(rows), np.bool_)
    merged = []
    for best in np.argsort(-rows[:, 4], kind="stable"):
        if not free[best]:
            continue
        group = free & (box_iou(rows[best, :4], rows[:, :4])[0] >= overlap)
        free &= ~group
        per_pass = [rows[group & (which == i), 4].max(initial=0.0) for i in range(len(passes))]
        score = float(np.mean(sorted(per_pass)[-better:]))
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
