"""A detector that can be made blind: what the judge has to notice."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from faceblur.detection.detector import Detector, ModelInfo, ModelInput
from faceblur.detections import Detections


class Blindfold:
    """Passes everything on to a detector, or answers at once that there is no face.

    It sits behind whatever guards a session, so nothing but the judge can tell.

    Args:
        detector: The one that sees.

    Attributes:
        is_on: Whether it finds nothing from now on.
    """

    def __init__(self, detector: Detector) -> None:
        self.is_on = False
        self._detector = detector

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""
        return self._detector.model

    def submit(self, inputs: Sequence[ModelInput], *, min_score: float) -> list[Future[Detections]]:
        """Start the detection of faces in model inputs, one answer for each."""
        if not self.is_on:
            return self._detector.submit(inputs, min_score=min_score)
        nothing: Future[Detections] = Future()
        nothing.set_result(Detections.empty())
        return [nothing] * len(inputs)

    def close(self) -> None:
        """Close the detector."""
        self._detector.close()
