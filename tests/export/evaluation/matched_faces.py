"""Faces that were found and missed, made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from faceblur.detection.letterbox import Letterbox
from faceblur.detections import Detections
from faceblur_export.evaluation.matching import MatchedFaces, join_findings, match_image

SQUARE = Letterbox.plan(640, 640)
Box = tuple[float, float, float, float]


def detections(*scored: tuple[Box, float]) -> Detections:
    rows = np.zeros((len(scored), 15), np.float32)
    for row, (box, score) in zip(rows, scored, strict=True):
        row[:5] = *box, score
    return Detections.from_rows(rows)


def findings(*images: tuple[list[tuple[Box, float]], list[Box]]) -> MatchedFaces:
    """What was found in images of 640 × 640, each with detections and faces."""
    parts = [
        match_image(detections(*found), np.reshape(faces, (-1, 4)), SQUARE)
        for found, faces in images
    ]
    return join_findings([Path(f"{n}.png") for n in range(len(parts))], parts)


def face(x: float, height: float, y: float = 0) -> Box:
    return (x, y, x + 30, y + height)


TWO_IMAGES = (
    ([(face(0, 20), 0.9), (face(100, 40), 0.7), (face(300, 12), 0.3)], [face(0, 20)]),
    ([(face(0, 100), 0.5)], [face(0, 100), face(200, 10)]),
)
"""Scores .9 hit, .7 extra, .5 hit, .3 extra; of three faces the smallest is missed."""


def many(hit: float, images: int = 60, seed: int = 0) -> MatchedFaces:
    """Images with three large faces of which a share is found."""
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(images):
        faces = [face(100 * n, 60) for n in range(3)]
        made.append(([(box, 0.5) for box in faces if draw.random() < hit], faces))
    return findings(*made)
