"""One portrait made hard to see in steps, to show where a model stops finding the face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from faceblur.boxes import box_iou
from faceblur.detection import canary
from faceblur.detection.letterbox import PAD_VALUE
from faceblur.detections import Detections
from faceblur_export.evaluation.inference import MIN_SCORE

CANVAS = (384, 640)
"""Height and width of the frame given to the network: a 16:9 image at the default size."""

MIN_IOU = 0.4
"""Overlap with the face from which a detection counts as this face; turned boxes fit loosely."""

FACE_HEIGHT = float(canary.FACE[3] - canary.FACE[1])

RgbImage = npt.NDArray[np.uint8]
Detect = Callable[[RgbImage, float], Detections]
"""Finds the faces of a canvas that score more than a number."""


@dataclass(frozen=True, eq=False)
class Rendition:
    """The portrait under one condition.

    Attributes:
        name: The condition, in a few words.
        canvas: (H, W, 3) uint8 RGB.
        box: (4,) x1 y1 x2 y2 of the face on the canvas, as far as it is inside.
    """

    name: str
    canvas: RgbImage
    box: npt.NDArray[np.float64]


def renditions() -> list[Rendition]:
    """The portrait as it is, turned, small, dark, moving, covered and cut off."""
    plain = _place("upright, 52 px", height=FACE_HEIGHT)
    turned = [
        _place(f"turned {angle}°", height=FACE_HEIGHT, angle=angle) for angle in (45, 90, 180)
    ]
    small = [_place(f"{height} px high", height=height) for height in (16, 10, 7, 5)]
    return [
        plain,
        *turned,
        *small,
        Rendition("2 % of the light", _dark(plain.canvas), plain.box),
        Rendition("moving, 25 px", _moved(plain.canvas, 25), plain.box),
        Rendition("lower half covered", _covered(plain), plain.box),
        _place("cut off by the border", height=FACE_HEIGHT, centre=(4, CANVAS[0] / 2)),
    ]


def measure(detect: Detect) -> list[dict[str, Any]]:
    """Best score of a detection on the face of each rendition, None where there is none."""
    rows = []
    for rendition in renditions():
        faces = detect(rendition.canvas, MIN_SCORE)
        fits = box_iou(faces.boxes, rendition.box)[:, 0] >= MIN_IOU
        score = round(float(faces.scores[fits].max()), 3) if fits.any() else None
        rows.append({"name": rendition.name, "score": score})
    return rows


def figure(rows: list[dict[str, Any]], threshold: float) -> Figure:
    """The renditions with what `measure` found in them."""
    drawn = Figure(figsize=(8, 7), layout="constrained")
    cells = drawn.subplots(3, 4).ravel()
    for axes, rendition, row in zip(cells, renditions(), rows, strict=True):
        axes.imshow(_window(rendition), interpolation="nearest")
        axes.set_axis_off()
        found = is_found(row, threshold)
        axes.set_title(
            f"{row['name']}\n{describe(row, threshold)}",
            fontsize=9,
            color="black" if found else "firebrick",
        )
    return drawn


def is_found(row: dict[str, Any], threshold: float) -> bool:
    """Whether the face of a row would be masked."""
    return row["score"] is not None and row["score"] > threshold


def describe(row: dict[str, Any], threshold: float) -> str:
    """What became of the face of a row, in words."""
    score = "no detection" if row["score"] is None else f"score {row['score']:.2f}"
    return f"{'found' if is_found(row, threshold) else 'MISSED'} ({score})"


def _place(
    name: str,
    *,
    height: float,
    angle: float = 0,
    centre: tuple[float, float] = (CANVAS[1] / 2, CANVAS[0] / 2),
) -> Rendition:
    """Put the portrait on a grey canvas with the middle of the face at `centre`."""
    portrait = cv2.cvtColor(cv2.imread(str(canary.CHECK_IMAGE)), cv2.COLOR_BGR2RGB)
    scale = height / FACE_HEIGHT
    if scale < 1:
        # Shrink before placing: warping alone would alias.
        size = tuple(max(1, round(side * scale)) for side in portrait.shape[1::-1])
        portrait = cv2.resize(portrait, size, interpolation=cv2.INTER_AREA)
    x1, y1, x2, y2 = (float(value) * scale for value in canary.FACE)
    middle = ((x1 + x2) / 2, (y1 + y2) / 2)
    move = np.asarray(cv2.getRotationMatrix2D(middle, angle, 1.0), np.float64)
    move[:, 2] += np.subtract(centre, middle)
    canvas = cv2.warpAffine(portrait, move, CANVAS[::-1], borderValue=(PAD_VALUE,) * 3)
    corners = np.array([[x1, y1, 1], [x2, y1, 1], [x1, y2, 1], [x2, y2, 1]]) @ move.T
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return Rendition(name, np.asarray(canvas, np.uint8), np.clip(box, 0, [*CANVAS[::-1]] * 2))


def _dark(canvas: RgbImage) -> RgbImage:
    noise = np.random.default_rng(0).normal(0, 1.5, canvas.shape)
    return np.clip(canvas * 0.02 + noise, 0, 255).astype(np.uint8)


def _moved(canvas: RgbImage, pixels: int) -> RgbImage:
    return np.asarray(cv2.blur(canvas, (pixels, 1)), np.uint8)


def _covered(rendition: Rendition) -> RgbImage:
    canvas = rendition.canvas.copy()
    x1, y1, x2, y2 = (round(float(value)) for value in rendition.box)
    canvas[(y1 + y2) // 2 : y2 + 6, x1 - 6 : x2 + 6] = (60, 90, 130)
    return canvas


def _window(rendition: Rendition) -> RgbImage:
    """The part of the canvas around the face that is worth showing, brightened when dark."""
    x, y = (rendition.box[:2] + rendition.box[2:]) / 2
    reach = max(16.0, 1.3 * float((rendition.box[2:] - rendition.box[:2]).max()))
    top, left = max(0, int(y - reach)), max(0, int(x - reach))
    return rendition.canvas[top : int(y + reach), left : int(x + reach)]
