"""One image of a data set and what is known about its faces."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceblur.errors import InputError

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image file and what is known about its faces.

    Attributes:
        path: The file.
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the file.
        landmarks: (N, 5, 2) float32 in the same frame, NaN where they are not labelled.
        labelled: Whether a person listed the faces; false means "unknown", not "none".
        normalised: Boxes are fractions of the image's width and height (YOLO files).
        source: Where the label stands, for messages.
        format: Name of the format of the label.
        problem: Why the label cannot be used, one sentence.
    """

    path: Path
    boxes: FloatArray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    landmarks: FloatArray = field(default_factory=lambda: np.zeros((0, 5, 2), np.float32))
    labelled: bool = False
    normalised: bool = False
    source: str = ""
    format: str = "unlabelled"
    problem: str = ""

    def in_pixels(self, width: int, height: int) -> LabelledImage:
        """The same image with boxes in pixels, checked against its size.

        Boxes that reach over the border by no more than a tenth of the image are clipped.

        Raises:
            InputError: The label has a problem, or a box lies outside the image.
        """
        if self.problem:
            raise InputError(self.problem)
        boxes, points = self.boxes, self.landmarks
        if self.normalised:
            boxes = boxes * np.asarray([width, height, width, height], np.float32)
            points = points * np.asarray([width, height], np.float32)
        limit = np.asarray([width, height, width, height], np.float32)
        slack = 0.1 * limit + 2
        for box in boxes:
            if (box < -slack).any() or (box > limit + slack).any():
                raise InputError(
                    f"{self.source}: the box {_pretty(box)} lies outside {self.path.name} of "
                    f"{width} × {height} pixels; correct or remove that line"
                )
        clipped = np.clip(boxes, 0, limit).astype(np.float32)
        keep = (clipped[:, 2:] - clipped[:, :2] >= 1).all(1)
        return replace(self, boxes=clipped[keep], landmarks=points[keep], normalised=False)


def _pretty(box: npt.NDArray[np.float32]) -> str:
    return " ".join(f"{v:g}" for v in box)
