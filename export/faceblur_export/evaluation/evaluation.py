"""AP50, and precision and recall at the shipped threshold by face height, with intervals.

Conventions, the same for every figure of this project:

* Every label is a face, whatever its name; labels smaller than one pixel are dropped on reading.
* A detection matches a face at IoU ≥ 0.5. Detections choose by falling score, each takes the free
  face that it overlaps most, and what is left over is a miss or an extra.
* AP50 counts every label, however small, and every detection above `MIN_SCORE`.
* Height bins are in pixels of the frame given to the network. A detection that matches a face is
  in the bin of the face, any other in the bin of its own height.
* Intervals are 95 % percentile bootstraps over images, because the faces of one image are not
  independent (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993). They are seeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from faceblur.errors import InputError
from faceblur_export.evaluation.matching import BoolArray, MatchedFaces
from faceblur_export.evaluation.metrics import (
    UNMATCHED,
    Float64Array,
    IntArray,
    average_precision,
    ratio,
)

HEIGHT_BINS: tuple[tuple[float, float], ...] = ((8, 16), (16, 32), (32, 64), (64, np.inf))
"""Face heights reported apart: from, and up to but without, pixels of the canvas."""

IDENTIFIABLE_HEIGHT = 24.0
"""Face height in image pixels from which acceptance asks for recall."""

RESAMPLES = 1000
SEED = 20_25
PERCENTILES = (2.5, 97.5)
_CHUNK = 50

Weights = npt.NDArray[np.float64]
"""(resamples, images) how often each image counts."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; all None where there is nothing to measure."""

    value: float | None
    low: float | None
    high: float | None

    def named(self, name: str) -> dict[str, float | None]:
        """As three entries of a report."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def resample(images: int, *, resamples: int = RESAMPLES, seed: int = SEED) -> Weights:
    """Draw images with replacement, as often as there are; (resamples, images) counts."""
    draw = np.random.default_rng(seed)
    chances = np.full(images, 1 / images)
    return draw.multinomial(images, chances, size=resamples).astype(np.float64)


def precision_recall(findings: MatchedFaces) -> tuple[Float64Array, Float64Array, Float64Array]:
    """(D,) precision, recall and score of falling thresholds, one per detection."""
    order, precision, recall = _curves(findings, np.ones((1, len(findings.images))))
    return precision[0], recall[0], findings.det_score[order]


def precision_at_recall(findings: MatchedFaces, recall: float) -> float | None:
    """Precision at the highest threshold that finds this share of the faces; None if none does."""
    precision, recalls, _ = precision_recall(findings)
    reached = np.flatnonzero(recalls >= recall)
    return float(precision[reached[0]]) if len(reached) else None


def ap50(findings: MatchedFaces, weights: Weights | None = None) -> Float64Array:
    """Average precision, for the data set or for each row of weights."""
    rows = np.ones((1, len(findings.images))) if weights is None else weights
    parts = []
    for start in range(0, len(rows), _CHUNK):
        _, precision, recall = _curves(findings, rows[start : start + _CHUNK])
        parts.append(average_precision(precision, recall))
    return np.concatenate(parts)


def _curves(
    findings: MatchedFaces, weights: Weights
) -> tuple[IntArray, Float64Array, Float64Array]:
    order = np.argsort(-findings.det_score, kind="stable")
    counts = weights[:, findings.det_image[order]]
    hits = np.cumsum(counts * (findings.det_face[order] != UNMATCHED), axis=1)
    faces = weights[:, findings.face_image].sum(axis=1, keepdims=True)
    return order, ratio(hits, np.cumsum(counts, axis=1)), ratio(hits, faces)


@dataclass(frozen=True, eq=False)
class Share:
    """How many of a whole, per image: the numerator and denominator of a rate."""

    part: Float64Array
    whole: Float64Array

    def over(self, weights: Weights) -> Float64Array:
        """The rate for each row of weights; NaN where the whole is nothing."""
        whole = weights @ self.whole
        return np.where(whole > 0, ratio(weights @ self.part, whole), np.nan)

    def value(self) -> float | None:
        """The rate of all images, None where the whole is nothing."""
        return float(self.part.sum() / self.whole.sum()) if self.whole.sum() else None


def recall_share(findings: MatchedFaces, threshold: float, chosen: BoolArray) -> Share:
    """Faces found, of the chosen (F,) ones."""
    found = chosen & findings.is_found(threshold)
    return _share(findings, findings.face_image[found], findings.face_image[chosen])


def precision_share(findings: MatchedFaces, threshold: float, chosen: BoolArray) -> Share:
    """Detections that match a face, of the chosen (D,) ones above the threshold."""
    kept = chosen & (findings.det_score > threshold)
    right = kept & (findings.det_face != UNMATCHED)
    return _share(findings, findings.det_image[right], findings.det_image[kept])


def _share(findings: MatchedFaces, part: IntArray, whole: IntArray) -> Share:
    """From the image of each thing that is right, and of each that counts."""
    images = len(findings.images)
    return Share(*(np.bincount(each, minlength=images).astype(float) for each in (part, whole)))


def interval(samples: Float64Array) -> tuple[float | None, float | None]:
    """The percentiles of what the resamples gave, those without a value left out."""
    valid = samples[~np.isnan(samples)]
    if not len(valid):
        return None, None
    low, high = np.percentile(valid, PERCENTILES)
    return float(low), float(high)


def estimate(share: Share, weights: Weights) -> Estimate:
    """A rate with its interval."""
    value = share.value()
    low, high = interval(share.over(weights)) if value is not None else (None, None)
    return Estimate(value, low, high)


def evaluate(findings: MatchedFaces, *, threshold: float, seed: int = SEED) -> dict[str, Any]:
    """All figures of a model on a data set, where scores above the threshold are masked.

    Returns:
        `ap50` (with `_low` and `_high`, as all rates), `threshold`, `images`, `faces`,
        `precision`, `recall`, `recall_identifiable` (faces of at least `IDENTIFIABLE_HEIGHT`
        pixels in the image), `faces_identifiable`, and `by_height`: for each bin `min`, `max`
        (None: open), `faces`, `detections`, `precision` and `recall`. A rate of nothing is None.
    """
    weights = resample(len(findings.images), seed=seed)
    every_face = np.ones(len(findings.face_score), bool)
    every_detection = np.ones(len(findings.det_score), bool)
    large = findings.source_height >= IDENTIFIABLE_HEIGHT
    average = Estimate(float(ap50(findings)[0]), *interval(ap50(findings, weights)))
    precision = estimate(precision_share(findings, threshold, every_detection), weights)
    recall, recall_large = (
        estimate(recall_share(findings, threshold, chosen), weights)
        for chosen in (every_face, large)
    )
    return {
        **average.named("ap50"),
        "threshold": threshold,
        "images": len(findings.images),
        "faces": len(findings.face_score),
        **precision.named("precision"),
        **recall.named("recall"),
        "faces_identifiable": int(large.sum()),
        **recall_large.named("recall_identifiable"),
        "by_height": [_bin_figures(findings, threshold, weights, *bin_) for bin_ in HEIGHT_BINS],
    }


def _bin_figures(
    findings: MatchedFaces, threshold: float, weights: Weights, low: float, high: float
) -> dict[str, Any]:
    faces = (findings.face_height >= low) & (findings.face_height < high)
    detections = (findings.det_height >= low) & (findings.det_height < high)
    right = precision_share(findings, threshold, detections)
    return {
        "min": low,
        "max": high if np.isfinite(high) else None,
        "faces": int(faces.sum()),
        "detections": int(right.whole.sum()),
        **estimate(right, weights).named("precision"),
        **estimate(recall_share(findings, threshold, faces), weights).named("recall"),
    }


def compare(
    candidate: MatchedFaces, other: MatchedFaces, *, threshold: float, seed: int = SEED
) -> dict[str, Any]:
    """Differences between two models on the same images, candidate minus other.

    The same resamples serve both, so what the images have in common cancels out.

    Returns:
        `ap50_difference`, `ap50_ratio` and `recall_identifiable_difference`, each with `_low` and
        `_high`; `recall` of the candidate at the threshold, and `precision_at_recall` and
        `other_precision_at_recall`: of each where it finds as many faces, or None where it never
        does.

    Raises:
        InputError: The two were not measured on the same faces.
    """
    if candidate.images != other.images or not np.array_equal(candidate.face_box, other.face_box):
        raise InputError("two models can only be compared on the same images and labels")
    weights = resample(len(candidate.images), seed=seed)
    both = (candidate, other)
    average = [float(ap50(findings)[0]) for findings in both]
    averages = [ap50(findings, weights) for findings in both]
    large = candidate.source_height >= IDENTIFIABLE_HEIGHT
    shares = [recall_share(findings, threshold, large) for findings in both]
    found = [share.value() for share in shares]
    reached = float(candidate.is_found(threshold).mean()) if len(candidate.face_box) else None
    at_recall = [None if reached is None else precision_at_recall(each, reached) for each in both]
    recall = found[0] - found[1] if found[0] is not None and found[1] is not None else None
    quotients = np.where(averages[1] > 0, ratio(*averages), np.nan)
    differences = shares[0].over(weights) - shares[1].over(weights)
    return {
        **Estimate(average[0] - average[1], *interval(averages[0] - averages[1])).named(
            "ap50_difference"
        ),
        **Estimate(average[0] / average[1] if average[1] else None, *interval(quotients)).named(
            "ap50_ratio"
        ),
        **Estimate(recall, *interval(differences)).named("recall_identifiable_difference"),
        "recall": reached,
        "precision_at_recall": at_recall[0],
        "other_precision_at_recall": at_recall[1],
    }
