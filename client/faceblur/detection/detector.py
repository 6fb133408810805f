"""What finds faces in model inputs, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from faceblur.detections import Detections
from faceblur.errors import FaceblurError

ModelInput = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB, sides multiples of the model's stride."""


@dataclass(frozen=True)
class ModelInfo:
    """Which model answers.

    Attributes:
        name: Its name, such as `bundled` or `yolov5s-face`.
        sha256: Hash of the ONNX file it comes from, hexadecimal.
        stride: Largest stride; sides of model inputs are multiples of it.
    """

    name: str
    sha256: str
    stride: int = 32


class Detector(Protocol):
    """Finds faces in model inputs; safe to call from several threads."""

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""

    def submit(self, inputs: Sequence[ModelInput], *, min_score: float) -> list[Future[Detections]]:
        """Start the detection, in as few requests as can be.

        Args:
            inputs: Model inputs of one shape. They must not change before they are answered.
            min_score: Lowest score that counts, 0-1.

        Returns:
            A future for each, of the faces in its pixels. It fails with a `ServerError` when they
            could not be determined, within the detector's own deadline. A request that fails,
            fails for all of its inputs; its deadline is as many times that of one as it has.
        """

    def close(self) -> None:
        """Release what the detector holds."""


def refuse(failure: FaceblurError, count: int) -> list[Future[Detections]]:
    """The answers to so many model inputs that are not detected in, for the reason given."""
    answers: list[Future[Detections]] = [Future() for _ in range(count)]
    for answer in answers:
        answer.set_exception(failure)
    return answers


def follow(
    first: Future[Detections], settle: Callable[[Future[Detections]], None]
) -> Future[Detections]:
    """An answer that is settled when the first one is there; to cancel it cancels that one too.

    `settle` gives it its result or its error, when the first was not cancelled.
    """
    answer: Future[Detections] = Future()

    def answered(_: Future[Detections]) -> None:
        # Whoever waited may have given it up.
        with suppress(InvalidStateError):
            if first.cancelled():
                answer.cancel()
            else:
                settle(answer)

    answer.add_done_callback(lambda each: first.cancel() if each.cancelled() else None)
    first.add_done_callback(answered)
    return answer
