"""What a detector loses when its inputs were JPEGs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.detection.detector import Detector
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.triton.transports import encode_jpeg
from faceblur.detections import Detections
from faceblur_export.data.image_files import open_image
from faceblur_export.evaluation.evaluation import compare, evaluate
from faceblur_export.evaluation.inference import MIN_SCORE
from faceblur_export.evaluation.matching import (
    ImageFindings,
    MatchedFaces,
    join_findings,
    match_image,
    read_labelled,
)
from harness import markdown

Canvas = npt.NDArray[np.uint8]
TIMEOUT_S: Final = 60.0


@dataclass(frozen=True)
class Coding:
    """How model inputs are coded.

    Attributes:
        quality: Of the JPEGs; None for pixels.
        full_colour: Whether colour has the full resolution.
    """

    quality: int | None
    full_colour: bool = True

    def __str__(self) -> str:
        if self.quality is None:
            return "pixels"
        return f"JPEG {self.quality}" + ("" if self.full_colour else ", colour halved")


PIXELS: Final = Coding(None)


@dataclass(frozen=True)
class Accuracy:
    """Figures of one coding on one set of images.

    Attributes:
        coding: Of the canvases.
        kilobytes: Of a canvas, on average.
        figures: As `faceblur_export.evaluation.evaluation.evaluate` gives them.
        change: Against pixels, as its `compare` gives it; empty for pixels.
    """

    coding: Coding
    kilobytes: float
    figures: dict[str, Any]
    change: dict[str, Any]


def measure_accuracy(detector: Detector, folder: Path, codings: Sequence[Coding]) -> list[Accuracy]:
    """Detect in the same model inputs as pixels and as JPEGs.

    Args:
        detector: The model.
        folder: Labelled images.
        codings: Of the JPEGs.
    """
    images = read_labelled(folder)
    ways = [PIXELS, *codings]
    parts: dict[Coding, list[ImageFindings]] = {way: [] for way in ways}
    sent_bytes = dict.fromkeys(ways, 0)
    for image in images:
        pixels = open_image(image.path)
        height, width = pixels.shape[:2]
        faces = image.in_pixels(width, height).boxes
        letterbox = Letterbox.plan(width, height, size=DEFAULT_SIZE, stride=detector.model.stride)
        canvas = letterbox.apply(pixels)
        answers: dict[Coding, Future[Detections]] = {}
        for way in ways:
            seen, size = through(way, canvas)
            sent_bytes[way] += size
            answers[way] = detector.submit([seen], min_score=MIN_SCORE)[0]
        for way, answer in answers.items():
            parts[way].append(match_image(answer.result(TIMEOUT_S), faces, letterbox))
    paths = [image.path for image in images]
    findings = {way: join_findings(paths, each) for way, each in parts.items()}
    return [
        Accuracy(
            way,
            sent_bytes[way] / len(images) / 1e3,
            evaluate(findings[way], threshold=DEFAULT_THRESHOLD),
            _change(findings[way], findings[PIXELS]) if way != PIXELS else {},
        )
        for way in ways
    ]


def through(coding: Coding, canvas: Canvas) -> tuple[Canvas, int]:
    """A model input as the server gets it, and how many bytes were sent."""
    if coding.quality is None:
        return canvas, canvas.nbytes
    encoded = encode_jpeg(canvas, quality=coding.quality, full_colour=coding.full_colour)
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(decoded[:, :, ::-1]), len(encoded)


def accuracy_table(rows: Sequence[Accuracy]) -> str:
    """One set of images as a Markdown table."""
    bins = [each for each in rows[0].figures["by_height"] if each["faces"]]
    heads = [
        f"recall {b['min']:g}-{b['max']:g} px" if b["max"] else f"recall {b['min']:g}+ px"
        for b in bins
    ]
    head = " | ".join(
        (
            "sent as | kB an input | AP50 | change (95 %) | precision",
            *(f"{head} ({b['faces']})" for head, b in zip(heads, bins, strict=True)),
        )
    )
    lines = []
    for row in rows:
        change = "-"
        if row.change:
            change = "{ap50_difference:+.4f} ({ap50_difference_low:+.4f} to {high:+.4f})".format(
                **row.change, high=row.change["ap50_difference_high"]
            )
        recalls = [b["recall"] for b in row.figures["by_height"] if b["faces"]]
        cells = [
            str(row.coding),
            f"{row.kilobytes:.0f}",
            f"{row.figures['ap50']:.4f}",
            change,
            f"{row.figures['precision']:.3f}",
            *(f"{recall:.3f}" for recall in recalls),
        ]
        lines.append(cells)
    return markdown(head, lines)


def _change(candidate: MatchedFaces, pixels: MatchedFaces) -> dict[str, Any]:
    return compare(candidate, pixels, threshold=DEFAULT_THRESHOLD)
