"""What finds faces on a network canvas, wherever it runs."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from faceblur.detections import Detections


@dataclass(frozen=True)
class ModelInfo:
    """Which model answers.

    Attributes:
        name: Its name, such as `bundled` or `yolov5s-face`.
        sha256: Hash of the ONNX file it comes from, hexadecimal.
        stride: Largest stride; canvas sides are multiples of it.
    """

    name: str
    sha256: str
    stride: int = 32


class Detector(Protocol):
    """Finds faces on canvases; safe to call from several threads."""

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""

    def submit(self, canvas: npt.NDArray[np.uint8], *, min_score: float) -> Future[Detections]:
        """Start looking for faces.

        Args:
            canvas: (H, W, 3) uint8 RGB, sides multiples of the model's stride. It is copied or
                sent before this returns.
            min_score: Lowest score that counts, 0–1.

        Returns:
            A future of the faces in canvas pixels. It fails with a `ServerError` when they could
            not be determined, within the detector's own deadline.
        """

    def close(self) -> None:
        """Release what the detector holds."""
