"""How many faces a model still finds in damaged images, at a rate of false alarms on whole ones.

Every model gets the threshold at which it makes as many false alarms per undamaged image as the
others; the same threshold then holds for the damaged copies. So a model cannot look robust by
masking more. The damage is seeded by the image's number: the same images, always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.detection.detector import Detector
from faceblur_export.data.image_files import open_image
from faceblur_export.data.labelled_image import LabelledImage
from faceblur_export.evaluation.inference import MIN_SCORE, detect_image
from faceblur_export.evaluation.matching import MatchedFaces, join_findings, match_image
from faceblur_export.evaluation.metrics import UNMATCHED
from faceblur_export.progress import ShowItems

Image = npt.NDArray[np.uint8]

MIN_HEIGHT: Final = 16.0
"""Faces and false alarms of fewer pixels in the model input do not count."""

FALSE_ALARMS: Final = 0.5
"""Per undamaged image, at the threshold of each model."""

CLEAN: Final = "undamaged"


def _noise(image: Image, sigma: float, seed: int) -> Image:
    return _rounded(image + np.random.default_rng(seed).normal(0, sigma, image.shape))


def _contrast(image: Image, share: float, middle: float) -> Image:
    return _rounded((image - 127.5) * share + middle)


def _rounded(values: npt.NDArray[Any]) -> Image:
    image: Image = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return image


def _blur(image: Image, length: int) -> Image:
    kernel = np.eye(length, dtype=np.float32) / length
    return np.asarray(cv2.filter2D(image, -1, kernel), np.uint8)


DAMAGES: Final[Mapping[str, Callable[[Image, int], Image]]] = {
    CLEAN: lambda image, _: image,
    "noise, sigma 15": lambda image, seed: _noise(image, 15, seed),
    "noise, sigma 30": lambda image, seed: _noise(image, 30, seed),
    "dark, 15 % of the light": lambda image, _: _rounded(image * 0.15),
    "dark and noisy, 15 % and sigma 3": lambda image, seed: _noise(_rounded(image * 0.15), 3, seed),
    "fog, contrast × 0.2 at 190": lambda image, _: _contrast(image, 0.2, 190),
    "blur, 9 px along the diagonal": lambda image, _: _blur(image, 9),
    "contrast × 0.1": lambda image, _: _contrast(image, 0.1, 127.5),
}
"""What is done to an image (H, W, 3) RGB with a seed, by name."""


def recall_under_damage(
    detectors: Mapping[str, Detector],
    images: Sequence[LabelledImage],
    *,
    false_alarms: float = FALSE_ALARMS,
    progress: ShowItems = iter,
) -> dict[str, Any]:
    """Recall of faces of at least `MIN_HEIGHT` pixels under each damage.

    Args:
        detectors: The models, by name.
        images: With labels.
        false_alarms: Per undamaged image, which the threshold of each model follows from.
        progress: Wraps the images, to show how far it is.

    Returns:
        `images`, `faces`, `min_height`, `false_alarms`, `thresholds` by model, and `rows`: for
        each damage its `name` and `recall` by model.

    Raises:
        InputError: An image or a label cannot be used.
        ServerError: A detector failed.
    """
    parts: dict[tuple[str, str], list[Any]] = {}
    for seed, item in enumerate(progress(list(images))):
        pixels = open_image(item.path)
        faces = item.in_pixels(pixels.shape[1], pixels.shape[0]).boxes
        for damage, damaged in DAMAGES.items():
            shown = damaged(pixels, seed)
            for name, detector in detectors.items():
                found, letterbox = detect_image(detector, shown, min_score=MIN_SCORE)
                part = match_image(found, faces, letterbox)
                parts.setdefault((damage, name), []).append(part)
    paths = [item.path for item in images]
    findings = {key: join_findings(paths, each) for key, each in parts.items()}
    thresholds = {
        name: _threshold(findings[CLEAN, name], false_alarms * len(images)) for name in detectors
    }
    clean = findings[CLEAN, next(iter(detectors))]
    return {
        "images": len(images),
        "faces": int((clean.face_height >= MIN_HEIGHT).sum()),
        "min_height": MIN_HEIGHT,
        "false_alarms": false_alarms,
        "thresholds": thresholds,
        "rows": [
            {
                "name": damage,
                "recall": {
                    name: _recall(findings[damage, name], thresholds[name]) for name in detectors
                },
            }
            for damage in DAMAGES
        ],
    }


def _threshold(findings: MatchedFaces, allowed: float) -> float:
    """The lowest score above which there are no more false alarms than allowed."""
    false = (findings.det_face == UNMATCHED) & (findings.det_height >= MIN_HEIGHT)
    scores = np.sort(findings.det_score[false])[::-1]
    beyond = int(allowed)
    return float(scores[beyond]) if beyond < len(scores) else MIN_SCORE


def _recall(findings: MatchedFaces, threshold: float) -> float:
    counted = findings.face_height >= MIN_HEIGHT
    return float(findings.is_found(threshold)[counted].mean())
