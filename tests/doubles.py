"""Stand-ins for parts of the program."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future

from faceblur.detection.detector import ModelInput
from faceblur.detections import Detections


class OneByOne:
    """A detector that is asked about each model input by itself."""

    def submit(self, inputs: Sequence[ModelInput], *, min_score: float) -> list[Future[Detections]]:
        return [self.submit_one(each, min_score=min_score) for each in inputs]

    @abstractmethod
    def submit_one(self, canvas: ModelInput, *, min_score: float) -> Future[Detections]:
        """Answer for one."""
