"""Say for a frame that a viewer received whether the face shows. Two judges, one verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.detection import models
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.repository import FAST_MODEL
from faceblur.image.pixels import BgrImage
from rig.clips import FACE_IN_PORTRAIT, PORTRAIT

LIKENESS: Final = 0.75
"""Correlation with the face from which it counts as shown. Unmasked it is above 0.9; in a frame
whose face is masked, something elsewhere may reach 0.7."""

SCORE: Final = 0.58
"""Of the detector, from which a face counts as found: bare it has over 0.65 (1,196 frames), wholly
masked, but on the shoulders of an astronaut, up to 0.52 (2,800 frames)."""

NEAR: Final = 0.5
"""Of the face's width and height, that what the detector finds may lie beside it."""

PLACED: Final = 0.7
"""Correlation with the rest of the portrait from which the place of its face is known."""

_BELOW_FACE: Final = 200
"""Row of the portrait from which on no mask reaches."""

FLAT: Final = 18.0
"""Spread of brightness below which there is no frame but a notice."""


@dataclass(frozen=True)
class Verdict:
    """What there is in a frame.

    Attributes:
        face: A face shows, by the pixels or by the detector.
        placeholder: It is a flat frame with a notice.
        likeness: Largest correlation with the face, anywhere.
        score: Of the best face that the detector finds where the face is; 0 without.
    """

    face: bool
    placeholder: bool
    likeness: float
    score: float


class Judge:
    """Knows the face that is in the clips, at the size it has there.

    There is only one face, so what the detector takes for one elsewhere (the portrait has a rocket
    in it) is none. Where the portrait's place cannot be told, everything that it finds counts.

    Args:
        height: Of the frames in which it is looked for, pixels.
        detect: Also ask the detector, in this process, about every frame.
    """

    def __init__(self, height: int, *, detect: bool = True) -> None:
        portrait = cv2.imread(str(PORTRAIT), cv2.IMREAD_GRAYSCALE)
        assert portrait is not None
        x1, y1, x2, y2 = FACE_IN_PORTRAIT
        scale = 0.5 * height / portrait.shape[0]
        whole = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self._face = whole[
            round(y1 * scale) : round(y2 * scale), round(x1 * scale) : round(x2 * scale)
        ]
        self._below = whole[round(_BELOW_FACE * scale) :]
        self._place = np.array([x1, y1 - _BELOW_FACE, x2, y2 - _BELOW_FACE]) * scale
        """Of the face, x1 y1 x2 y2, from the corner of what is below it."""
        self._detector: InProcessDetector | None = None
        if detect:
            onnx, model = models.find(FAST_MODEL)
            self._detector = InProcessDetector(onnx, model=model, threads=1)

    def __call__(self, image: BgrImage) -> Verdict:
        """Judge one frame, uint8 [H, W, 3] BGR."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if float(grey.std()) < FLAT:
            return Verdict(False, True, 0.0, 0.0)
        likeness = float(cv2.matchTemplate(grey, self._face, cv2.TM_CCOEFF_NORMED).max())
        score = self._score(image, grey)
        return Verdict(likeness >= LIKENESS or score >= SCORE, False, likeness, score)

    def _score(self, image: BgrImage, grey: BgrImage) -> float:
        if self._detector is None:
            return 0.0
        height, width = image.shape[:2]
        letterbox = Letterbox.plan(width, height)
        canvas = letterbox.apply(np.ascontiguousarray(image[:, :, ::-1]))
        found = letterbox.to_source(self._detector.submit([canvas], min_score=0.05)[0].result(30))
        best = float(found.scores.max(initial=0.0))
        if best < SCORE:
            return best
        x1, y1, x2, y2 = self._around_face(grey)
        left, top, right, bottom = found.boxes.T
        near = (left < x2) & (right > x1) & (top < y2) & (bottom > y1)
        return float(found.scores[near].max(initial=0.0))

    def _around_face(self, grey: BgrImage) -> npt.NDArray[np.float64]:
        """Where the face must be, and somewhat beyond; all of the frame if that is not known."""
        likeness = cv2.matchTemplate(grey, self._below, cv2.TM_CCOEFF_NORMED)
        _, best, _, (x, y) = cv2.minMaxLoc(likeness)
        if best < PLACED:
            return np.array([-np.inf, -np.inf, np.inf, np.inf])
        x1, y1, x2, y2 = self._place + np.array([x, y, x, y])
        across, down = NEAR * (x2 - x1), NEAR * (y2 - y1)
        return np.array([x1 - across, y1 - down, x2 + across, y2 + down])
