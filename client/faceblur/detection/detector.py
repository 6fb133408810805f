"""What finds faces on a network canvas, wherever it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from faceblur.detections import Detections

ModelInput = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, sides multiples of the model's stride."""


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

    def submit(self, canvas: ModelInput, *, min_score: float) -> Future[Detections]:
        """Start looking for faces.

        Args:
            canvas: What to look at. It is copied or sent before this returns.
            min_score: Lowest score that counts, 0–1.

        Returns:
            A future of the faces in canvas pixels. It fails with a `ServerError` when they could
            not be determined, within the detector's own deadline.
        """

    def close(self) -> None:
        """Release what the detector holds."""


@runtime_checkable
class BatchDetector(Detector, Protocol):
    """A detector that is asked in requests, each of which costs something of its own."""

    def submit_batch(
        self, canvases: Sequence[ModelInput], *, min_score: float
    ) -> list[Future[Detections]]:
        """Start looking for faces on several canvases of one shape, in as few requests as can be.

        Args:
            canvases: What to look at; as for `submit`.
            min_score: Lowest score that counts, 0-1.

        Returns:
            A future for each, as of `submit`. A request that fails, fails for all of its
            canvases; its deadline is as many times that of one canvas as it has canvases.
        """


@runtime_checkable
class ManyWayDetector(Detector, Protocol):
    """A detector whose frames travel by one of several ways, each of which can be misled."""

    def submit_everywhere(
        self, canvas: ModelInput, *, min_score: float
    ) -> Iterator[Future[Detections]]:
        """Send a small canvas by each way in turn, the next when the last answer was taken."""

    def renew(self) -> None:
        """Use none of the ways again: one of them brought the answer to something else."""


def submit_everywhere(
    detector: Detector, canvas: ModelInput, *, min_score: float
) -> Iterator[Future[Detections]]:
    """Ask any detector by every way that it has of its own; see `ManyWayDetector`."""
    if isinstance(detector, ManyWayDetector):
        yield from detector.submit_everywhere(canvas, min_score=min_score)


def renew(detector: Detector) -> None:
    """Have any detector take new ways; see `ManyWayDetector`."""
    if isinstance(detector, ManyWayDetector):
        detector.renew()


def submit_batch(
    detector: Detector, canvases: Sequence[ModelInput], *, min_score: float
) -> list[Future[Detections]]:
    """Ask any detector about several canvases of one shape; see `BatchDetector`."""
    if isinstance(detector, BatchDetector):
        return detector.submit_batch(canvases, min_score=min_score)
    return [detector.submit(canvas, min_score=min_score) for canvas in canvases]
