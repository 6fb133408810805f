"""Which detections of a model match which labelled faces of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceblur.boxes import box_iou
from faceblur.detection.detector import Detector
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import DEFAULT_SIZE
from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur_export.data.formats import read_folder
from faceblur_export.data.image_files import open_image
from faceblur_export.data.labelled_image import LabelledImage
from faceblur_export.evaluation.inference import (
    MIN_SCORE,
    LetterboxStyle,
    detect_image,
)
from faceblur_export.evaluation.metrics import (
    UNMATCHED,
    Float64Array,
    IntArray,
    match_greedily,
)
from faceblur_export.progress import ShowItems

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class MatchedFaces:
    """Detections and faces of a data set, and which found which.

    The canvas is what the network sees. Detections come image by image, best score first;
    leaving out those below a score changes no match of the others.

    Attributes:
        images: The files.
        det_image: (D,) number of the image of each detection.
        det_score: (D,) its score.
        det_height: (D,) height in canvas pixels of the face that it matches, or its own.
        det_face: (D,) row of the face that it matches, or `UNMATCHED`.
        face_image: (F,) number of the image of each face.
        face_box: (F, 4) x1 y1 x2 y2 in pixels of the image.
        face_height: (F,) height in canvas pixels.
        face_score: (F,) score of the detection that matches it, or -1.
    """

    images: tuple[Path, ...]
    det_image: IntArray
    det_score: Float64Array
    det_height: Float64Array
    det_face: IntArray
    face_image: IntArray
    face_box: Float64Array
    face_height: Float64Array
    face_score: Float64Array

    @property
    def source_height(self) -> Float64Array:
        """(F,) height of each face in pixels of its image."""
        return self.face_box[:, 3] - self.face_box[:, 1]

    def is_found(self, threshold: float) -> BoolArray:
        """(F,) which faces a detection scored above the threshold matches."""
        return self.face_score > threshold


def read_labelled(folder: Path) -> list[LabelledImage]:
    """The images of a folder whose faces a person has listed.

    Raises:
        InputError: There are none, or a label cannot be used.
    """
    images = [image for image in read_folder(folder) if image.labelled]
    if not any(len(image.boxes) for image in images):
        raise InputError(f"{folder} holds no labelled face; evaluation needs images with labels")
    return images


def match_images(
    detector: Detector,
    images: Sequence[LabelledImage],
    *,
    size: int = DEFAULT_SIZE,
    style: LetterboxStyle = "canonical",
    min_score: float = MIN_SCORE,
    progress: ShowItems = iter,
) -> MatchedFaces:
    """Detect faces in labelled images and match them.

    Detections that do not score more than `min_score` are left out; `size` is the longest side
    given to the network, pixels.

    Raises:
        InputError: An image or a label cannot be used.
        ServerError: The detector failed.
    """
    parts = []
    for item in progress(images):
        pixels = open_image(item.path)
        height, width = pixels.shape[:2]
        faces = item.in_pixels(width, height).boxes
        detections, letterbox = detect_image(
            detector, pixels, size=size, style=style, min_score=min_score
        )
        parts.append(match_image(detections, faces, letterbox))
    return join_findings([image.path for image in images], parts)


@dataclass(frozen=True, eq=False)
class ImageFindings:
    """The same for one image; rows of `det_face` count from its first face."""

    det_score: Float64Array
    det_height: Float64Array
    det_face: IntArray
    face_box: Float64Array
    face_height: Float64Array
    face_score: Float64Array


def match_image(
    detections: Detections, faces: npt.ArrayLike, letterbox: Letterbox
) -> ImageFindings:
    """Match the detections of one image to its faces.

    Args:
        detections: Canvas pixels, in any order.
        faces: (N, 4) boxes x1 y1 x2 y2 in image pixels.
        letterbox: How the image was fitted to the canvas.
    """
    found = letterbox.to_source(detections.select(np.argsort(-detections.scores, kind="stable")))
    width, height = letterbox.source
    # What reaches over the border cannot be seen, and labels do not hold it.
    boxes = np.clip(found.boxes.astype(np.float64), 0, [width, height, width, height])
    labels = np.asarray(faces, np.float64).reshape(-1, 4)
    det_face = match_greedily(box_iou(boxes, labels))
    matched = det_face != UNMATCHED

    scale = letterbox.resized[1] / height
    face_height = (labels[:, 3] - labels[:, 1]) * scale
    det_height = (boxes[:, 3] - boxes[:, 1]) * scale
    det_height[matched] = face_height[det_face[matched]]
    face_score = np.full(len(labels), -1.0)
    face_score[det_face[matched]] = found.scores[matched]
    return ImageFindings(
        found.scores.astype(np.float64), det_height, det_face, labels, face_height, face_score
    )


def join_findings(images: Sequence[Path], parts: Sequence[ImageFindings]) -> MatchedFaces:
    """Put the findings of images one after the other."""
    det_counts = np.array([len(part.det_score) for part in parts], np.intp)
    face_counts = np.array([len(part.face_score) for part in parts], np.intp)
    first_face = np.concatenate([[0], np.cumsum(face_counts)])[:-1]
    numbers = np.arange(len(parts))

    def stacked(name: str, width: int = 0) -> npt.NDArray[Any]:
        shape = (0, width) if width else (0,)
        return np.concatenate([np.zeros(shape), *(getattr(part, name) for part in parts)])

    det_face = stacked("det_face").astype(np.intp)
    det_face[det_face != UNMATCHED] += np.repeat(first_face, det_counts)[det_face != UNMATCHED]
    return MatchedFaces(
        images=tuple(images),
        det_image=np.repeat(numbers, det_counts),
        det_score=stacked("det_score"),
        det_height=stacked("det_height"),
        det_face=det_face,
        face_image=np.repeat(numbers, face_counts),
        face_box=stacked("face_box", 4),
        face_height=stacked("face_height"),
        face_score=stacked("face_score"),
    )
