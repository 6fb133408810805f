"""Run a detector over image files, in either of the two ways of fitting them to the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.detection import models
from faceblur.detection.crowds import CrowdDetector
from faceblur.detection.detector import Detector
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import DEFAULT_SIZE
from faceblur.detections import Detections
from faceblur.errors import InputError, ModelError
from faceblur_export.choice import chosen
from faceblur_export.data.image_files import open_image
from faceblur_export.evaluation.metrics import Float64Array
from faceblur_export.progress import ShowItems

LetterboxStyle = Literal["canonical", "rectangular"]

REFERENCE_MULTIPLE = 64
"""The reference pads to multiples of 64 whatever the stride of the model, and published so."""

MIN_SCORE = 0.02
"""Detections that do not score more are left out, as in the reference's evaluation."""

DETECT_TIMEOUT_S = 300.0
"""Far more than the largest model needs for one image on a slow machine."""


def plan_model_input(
    width: int,
    height: int,
    *,
    size: int = DEFAULT_SIZE,
    stride: int = 32,
    style: LetterboxStyle = "canonical",
) -> Letterbox:
    """Fit an image as the client does (`canonical`) or as the reference did (`rectangular`).

    In both the longer side becomes `size` and the rest is grey; they differ in the shapes that the
    padding leads to.

    Raises:
        InputError: The size does not suit the model, or the image has no pixels.
    """
    canonical = Letterbox.plan(width, height, size=size, stride=stride)
    if style == "canonical":
        return canonical
    multiple = max(REFERENCE_MULTIPLE, stride)
    if size % multiple:
        raise InputError(
            f"--size {size} is not a multiple of {multiple}, which --letterbox rectangular needs"
        )
    # The reference cuts off the fraction of a pixel where the client rounds.
    long = max(width, height)
    resized = (max(1, width * size // long), max(1, height * size // long))
    columns, rows = (-(-side // multiple) * multiple for side in resized)
    return Letterbox(
        source=(width, height),
        shape=(rows, columns),
        resized=resized,
        left=(columns - resized[0]) // 2,
        top=(rows - resized[1]) // 2,
    )


def fit_image(
    image: npt.NDArray[np.uint8], letterbox: Letterbox, *, style: LetterboxStyle = "canonical"
) -> npt.NDArray[np.uint8]:
    """Make the canvas (H, W, 3) for an image (h, w, 3); channels as they came."""
    if style == "rectangular" and letterbox.resized[0] < image.shape[1]:
        # The reference averages areas whenever it shrinks.
        shrunk = cv2.resize(image, letterbox.resized, interpolation=cv2.INTER_AREA)
        image = np.asarray(shrunk, np.uint8)
    return letterbox.apply(image)


@contextmanager
def open_detector(model: str, *, threads: int = 1) -> Iterator[Detector]:
    """Open a model for the length of a `with` block.

    Args:
        model: `bundled`, `fast`, the name of a pulled model, or a file: `.onnx`, or `.pt` of
            official weights or of a training run, which is exported to a temporary file first.
        threads: Threads for one image.

    Raises:
        ModelError: There is no such model, or it cannot be used.
    """
    checkpoint = Path(model) if model.endswith(".pt") else None
    if checkpoint is not None and not checkpoint.is_file():
        raise ModelError(f"{checkpoint} is not a file; give a checkpoint (.pt)")
    with chosen(checkpoint) as exported:
        inner = InProcessDetector(
            exported if checkpoint else models.find(model)[0], threads=threads
        )
        with closing(CrowdDetector(inner)) as detector:
            yield detector


def detect_image(
    detector: Detector,
    image: npt.NDArray[np.uint8],
    *,
    size: int = DEFAULT_SIZE,
    style: LetterboxStyle = "canonical",
    min_score: float,
) -> tuple[Detections, Letterbox]:
    """Find the faces of one image.

    Detections that do not score more than `min_score` are left out. `image` is (H, W, 3) uint8 RGB,
    `size` the longest side given to the network, pixels.

    Returns:
        The faces in canvas pixels, and how the image was fitted to the canvas.

    Raises:
        ServerError: The detector failed.
    """
    height, width = image.shape[:2]
    letterbox = plan_model_input(
        width, height, size=size, stride=detector.model.stride, style=style
    )
    canvas = fit_image(image, letterbox, style=style)
    return detector.submit([canvas], min_score=min_score)[0].result(DETECT_TIMEOUT_S), letterbox


def widerface_images(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """The files `event/stem.jpg` of WIDER FACE images, by name.

    Raises:
        InputError: Some are missing.
    """
    files = {name: folder / f"{name}.jpg" for name in names}
    missing = [name for name, file in files.items() if not file.is_file()]
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} of {len(names)} images, such as {missing[0]}.jpg; "
            "give the images folder of WIDER_val"
        )
    return files


def predict_widerface(
    detector: Detector,
    images: Mapping[str, Path],
    *,
    size: int = DEFAULT_SIZE,
    style: LetterboxStyle = "canonical",
    progress: ShowItems = iter,
) -> dict[str, Float64Array]:
    """Find the faces of WIDER FACE images and put them as a submission would.

    Returns:
        Name → (N, 5) float64 rows x y width height score: whole pixels, scores of three decimals.

    Raises:
        InputError: An image is broken.
        ServerError: The detector failed.
    """
    predictions = {}
    for name, file in progress(list(images.items())):
        found, letterbox = detect_image(
            detector, open_image(file), size=size, style=style, min_score=MIN_SCORE
        )
        predictions[name] = _submission(letterbox.to_source(found), letterbox.source)
    return predictions


def _submission(found: Detections, size: tuple[int, int]) -> Float64Array:
    corners = np.rint(np.clip(found.boxes.astype(np.float64), 0, [*size, *size]))
    scores = np.round(found.scores.astype(np.float64), 3)
    return np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2], scores])
