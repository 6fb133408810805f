"""The rule that the default threshold follows from.

A missed face is a privacy breach, an extra blur is a blemish. So the two are weighed; a threshold
costs

    MISS_COST · faces missed + 1 · blurs where no face is labelled

over the faces and detections of at least `MIN_HEIGHT` pixels in the frame given to the network.
Smaller faces are left out on both sides because their labels are incomplete, and because there is
little left in them to recognise.

What the ratio means: lowering the threshold a little further adds some detections. It is worth its
price as long as more than one in 1 + MISS_COST of those is a face. With 10, a doubtful spot is
masked unless it is less likely than 1 in 11 to be a face. Equal costs (a ratio of 1) would give the
threshold of a detector that counts people; no cost on extras would blur everything.

Around its minimum the cost is flat, and images are few: which threshold is the cheapest is
partly chance. So the default is not the cheapest but the lowest that cannot be told from it: whose
cost is higher by no more than one standard error of the difference, by resampling images. It is
the rule of one standard error (Breiman, Friedman, Olshen and Stone, Classification and Regression
Trees, 1984, section 3.4.3), which takes the simplest tree for the same reason. Where chance
decides, it shall err towards masking.

The rule is applied to labelled images that were neither trained on nor are used to report
figures. Before, the cheapest threshold was the default (0.20 for the bundled model); that was
changed after it had missed more faces of the evaluation images than the official model did.
Those images showed that a change was due; in what it came to they had no part. The grid ends at
0.6, the threshold that the reference code ships.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from faceblur.errors import InputError
from faceblur_export.evaluation.evaluation import SEED, resample
from faceblur_export.evaluation.inference import MIN_SCORE
from faceblur_export.evaluation.matching import MatchedFaces
from faceblur_export.evaluation.metrics import UNMATCHED, Float64Array

MISS_COST: Final = 10.0
"""How many extra blurs one missed face is worth."""

MIN_HEIGHT: Final = 16.0
"""Faces and detections of fewer pixels on the canvas do not count here."""

GRID: Final = tuple(round(MIN_SCORE + 0.01 * step, 2) for step in range(59))
"""The thresholds to choose from: 0.02, 0.03 … 0.60."""


@dataclass(frozen=True)
class ThresholdChoice:
    """A threshold and what it costs on the data it was chosen on.

    Attributes:
        threshold: The lowest that cannot be told from the cheapest.
        cheapest: The one with the least cost; of equals the lowest.
        low: 2.5th percentile of the cheapest on resampled images.
        high: 97.5th percentile.
        faces: Faces that counted.
        missed: Of those, not found.
        extras: Detections that match no face.
        pictures: How many images that is.
    """

    threshold: float
    cheapest: float
    low: float
    high: float
    faces: int
    missed: int
    extras: int
    pictures: int


def choose_threshold(
    findings: MatchedFaces, *, miss_cost: float = MISS_COST, seed: int = SEED
) -> ThresholdChoice:
    """Apply the rule.

    Args:
        findings: Of a model on held-out labelled images, with everything above `MIN_SCORE`.
        miss_cost: Extra blurs that one missed face is worth.
        seed: Of the bootstrap.

    Raises:
        InputError: No face is large enough to count.
    """
    missed, extras = errors_per_image(findings)
    faces = int((findings.face_height >= MIN_HEIGHT).sum())
    if not faces:
        raise InputError(
            f"no labelled face is {MIN_HEIGHT:g} pixels high or more; "
            "a threshold needs images with larger faces"
        )
    cost = miss_cost * missed + extras
    weights = resample(len(cost), seed=seed)
    cheapest = int(cost.sum(axis=0).argmin())
    dearer = cost - cost[:, [cheapest]]
    error = (weights @ dearer).std(axis=0)
    # The cheapest itself is among them: it differs from itself by nothing.
    chosen = int((dearer.sum(axis=0) <= error).argmax())
    redrawn = (weights @ cost).argmin(axis=1)
    low, high = np.percentile(np.asarray(GRID)[redrawn], (2.5, 97.5), method="nearest")
    return ThresholdChoice(
        threshold=GRID[chosen],
        cheapest=GRID[cheapest],
        low=float(low),
        high=float(high),
        faces=faces,
        missed=int(missed[:, chosen].sum()),
        extras=int(extras[:, chosen].sum()),
        pictures=len(findings.images),
    )


def errors_per_image(findings: MatchedFaces) -> tuple[Float64Array, Float64Array]:
    """Misses and extras of each image at each threshold of the grid; (images, grid) both."""
    grid = np.asarray(GRID)
    shape = (len(findings.images), len(grid))
    missed, extras = np.zeros(shape), np.zeros(shape)
    face = findings.face_height >= MIN_HEIGHT
    lost = findings.face_score[face, None] <= grid
    np.add.at(missed, findings.face_image[face], lost)
    extra = (findings.det_height >= MIN_HEIGHT) & (findings.det_face == UNMATCHED)
    shown = findings.det_score[extra, None] > grid
    np.add.at(extras, findings.det_image[extra], shown)
    return missed, extras
