"""Pseudo-labels for clips without labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.coverage.clips import MIN_HEIGHT
from benchmarks.coverage.score import Face, Mask
from faceblur.boxes import box_iou
from faceblur.detection import models
from faceblur.detection.detector import Detector
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.image.pixels import BgrImage
from faceblur.tracking.association import pair

Boxes = npt.NDArray[np.float32]

SIZES: Final = (480, 800, 960)
"""Network sizes of the passes, plain and mirrored; none is the size under test."""
_SAME_FACE_IOU: Final = 0.5
_SAME_APPEARANCE_IOU: Final = 0.3


def open_detectors(names: Sequence[str], stack: ExitStack) -> list[InProcessDetector]:
    """Models by their names, in this process, until the stack is left."""
    detectors = []
    for name in names:
        onnx, info = models.find(name)
        detectors.append(InProcessDetector(onnx, model=info))
        stack.callback(detectors[-1].close)
    return detectors


def passes(judges: Sequence[str]) -> list[str]:
    """What the passes of some models are called."""
    flips = ("", ", mirrored")
    return [f"{judge} at {size}{flip}" for judge in judges for size in SIZES for flip in flips]


def min_agreeing(judges: int) -> int:
    """Passes that have to agree: more than half, so that no one of two models is enough."""
    return judges * len(SIZES) + 1


def label(images: Iterable[BgrImage], judges: Sequence[Detector]) -> Iterator[list[Face]]:
    """The faces of each frame that most passes of some detectors agree on.

    Args:
        images: Of one clip, in order, BGR.
        judges: The detectors.
    """
    linker = _Linker()
    for image in images:
        answers = [
            detect(judge, image, size=size, flip=flip)
            for judge in judges
            for size in SIZES
            for flip in (False, True)
        ]
        agreed = agree(answers, at_least=min_agreeing(len(judges)))
        agreed = agreed[agreed[:, 3] - agreed[:, 1] >= MIN_HEIGHT]
        appearances = linker.link(agreed)
        shapes = [ellipse(box, image.shape[:2]) for box in agreed]
        yield [
            Face(shape, shape, appearance)
            for shape, appearance in zip(shapes, appearances, strict=True)
            if shape.any()
        ]


def agree(answers: Sequence[Boxes], *, at_least: int) -> Boxes:
    """Boxes that enough passes have in common, each the median of what they say.

    Args:
        answers: (N, 4) boxes of each pass.
        at_least: Passes that have to agree.
    """
    groups: list[list[Boxes]] = []
    for boxes in answers:
        middles = np.array([np.median(group, axis=0) for group in groups], np.float32)
        fit = box_iou(middles.reshape(-1, 4), boxes)
        matched = pair(np.where(fit >= _SAME_FACE_IOU, fit, 0).astype(np.float32))
        for group, box in matched:
            groups[group].append(boxes[box])
        taken = {box for _, box in matched}
        groups += [[box] for index, box in enumerate(boxes) if index not in taken]
    agreed = [np.median(group, axis=0) for group in groups if len(group) >= at_least]
    return np.array(agreed, np.float32).reshape(-1, 4)


def detect(
    judge: Detector,
    image: BgrImage,
    *,
    size: int,
    flip: bool,
    min_score: float = DEFAULT_THRESHOLD,
) -> Boxes:
    """One pass: boxes (N, 4) in pixels of the frame, BGR, that may be mirrored for it."""
    height, width = image.shape[:2]
    plan = Letterbox.plan(width, height, size=size)
    rgb = image[:, ::-1, ::-1] if flip else image[:, :, ::-1]
    canvas = plan.apply(np.ascontiguousarray(rgb))
    found = judge.submit([canvas], min_score=min_score)[0].result(60)
    boxes = plan.to_source(found).boxes
    if flip:
        boxes = (boxes * [-1, 1, -1, 1] + [width, 0, width, 0])[:, [2, 1, 0, 3]]
    return boxes.astype(np.float32)


class _Linker:
    """Tells which labels show a face that the frame before showed too."""

    def __init__(self) -> None:
        self._boxes = np.zeros((0, 4), np.float32)
        self._names: list[int] = []
        self._next = 0

    def link(self, boxes: Boxes) -> list[int]:
        fit = box_iou(self._boxes, boxes)
        pairs = {column: row for row, column in pair(np.where(fit > _SAME_APPEARANCE_IOU, fit, 0))}
        names = []
        for column in range(len(boxes)):
            if column in pairs:
                names.append(self._names[pairs[column]])
            else:
                names.append(self._next)
                self._next += 1
        self._boxes, self._names = boxes, names
        return names


def ellipse(box: Boxes, shape: tuple[int, ...]) -> Mask:
    """The ellipse inscribed in a box, as the pixels (H, W) of a frame that it covers."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    across, down = (x + 0.5 - centre[0]) / half[0], (y + 0.5 - centre[1]) / half[1]
    inside: Mask = across**2 + down**2 <= 1
    return inside
