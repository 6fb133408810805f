"""Say for a picture that a viewer received whether the face shows. Two judges, one verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur import models
from faceblur.defaults import BUNDLED_MODEL
from faceblur.inprocess import InProcessDetector
from faceblur.letterbox import Letterbox
from rig.clips import FACE_IN_PORTRAIT, PORTRAIT

Picture = npt.NDArray[np.uint8]

LIKENESS: Final = 0.75
"""Correlation with the face from which it counts as shown. Unmasked it is above 0.9, and what is
under a mask is below 0.3."""

SCORE: Final = 0.5
"""Of the detector, from which a face counts as found."""

FLAT: Final = 18.0
"""Spread of brightness below which there is no picture but a notice."""


@dataclass(frozen=True)
class Verdict:
    """What there is in a picture.

    Attributes:
        face: A face shows, by the pixels or by the detector.
        placeholder: It is a flat picture with a notice.
        likeness: Largest correlation with the face, anywhere.
        score: Of the best face that the detector finds; 0 without.
    """

    face: bool
    placeholder: bool
    likeness: float
    score: float


class Judge:
    """Knows the face that is in the clips, at the size it has there.

    Args:
        height: Of the pictures in which it is looked for, pixels.
        detect: Also ask the detector, in this process, about every picture.
    """

    def __init__(self, height: int, *, detect: bool = True) -> None:
        portrait = cv2.imread(str(PORTRAIT), cv2.IMREAD_GRAYSCALE)
        assert portrait is not None
        x1, y1, x2, y2 = FACE_IN_PORTRAIT
        scale = 0.5 * height / portrait.shape[0]
        small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self._face = small[
            round(y1 * scale) : round(y2 * scale), round(x1 * scale) : round(x2 * scale)
        ]
        self._detector: InProcessDetector | None = None
        if detect:
            onnx, model = models.find(BUNDLED_MODEL)
            self._detector = InProcessDetector(onnx, model=model, threads=1)

    def __call__(self, picture: Picture) -> Verdict:
        """Judge one picture, uint8 [H, W, 3] BGR."""
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        if float(grey.std()) < FLAT:
            return Verdict(False, True, 0.0, 0.0)
        likeness = float(cv2.matchTemplate(grey, self._face, cv2.TM_CCOEFF_NORMED).max())
        score = self._score(picture)
        return Verdict(likeness >= LIKENESS or score >= SCORE, False, likeness, score)

    def _score(self, picture: Picture) -> float:
        if self._detector is None:
            return 0.0
        height, width = picture.shape[:2]
        canvas = Letterbox.plan(width, height).apply(np.ascontiguousarray(picture[:, :, ::-1]))
        found = self._detector.submit(canvas, min_score=0.05).result(30)
        return float(found.scores.max(initial=0.0))
