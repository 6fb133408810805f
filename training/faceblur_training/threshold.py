"""The rule that the default threshold follows from.

A missed face is a privacy breach, an extra blur is a blemish. So the two are weighed: the default
threshold is the one with the least cost

    MISS_COST · faces missed + 1 · blurs where no face is labelled

over the faces and detections of at least `MIN_HEIGHT` pixels in the frame given to the network.
Smaller faces are left out on both sides because their labels are incomplete, and because there is
little left in them to recognise.

What the ratio means: lowering the threshold a little further adds some detections. It is worth its
price as long as more than one in 1 + MISS_COST of those is a face. With 10, a doubtful spot is
masked unless it is less likely than 1 in 11 to be a face. Equal costs (a ratio of 1) would give the
threshold of a detector that counts people; no cost on extras would blur everything.

The rule is applied to labelled pictures that were neither trained on nor are used to report
figures. Among equal costs the lowest threshold wins. The grid ends at 0.6, the threshold that the
reference code ships.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from faceblur.errors import InputError
from faceblur_training.evaluation import SEED, resample
from faceblur_training.findings import Findings
from faceblur_training.inference import MIN_SCORE
from faceblur_training.scoring import UNMATCHED, Float64Array

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
        threshold: The cheapest.
        low: 2.5th percentile of what resampled pictures would have chosen.
        high: 97.5th percentile.
        faces: Faces that counted.
        missed: Of those, not found.
        extras: Detections that match no face.
        pictures: Pictures looked at.
    """

    threshold: float
    low: float
    high: float
    faces: int
    missed: int
    extras: int
    pictures: int


def choose_threshold(
    findings: Findings, *, miss_cost: float = MISS_COST, seed: int = SEED
) -> ThresholdChoice:
    """Apply the rule.

    Args:
        findings: Of a model on held-out labelled pictures, with everything above `MIN_SCORE`.
        miss_cost: Extra blurs that one missed face is worth.
        seed: Of the bootstrap.

    Raises:
        InputError: No face is large enough to count.
    """
    missed, extras = errors_per_picture(findings)
    faces = int((findings.face_height >= MIN_HEIGHT).sum())
    if not faces:
        raise InputError(
            f"no labelled face is {MIN_HEIGHT:g} pixels high or more; "
            "a threshold needs pictures with larger faces"
        )
    cost = miss_cost * missed + extras
    best = int(cost.sum(axis=0).argmin())
    redrawn = (resample(len(cost), seed=seed) @ cost).argmin(axis=1)
    low, high = np.percentile(np.asarray(GRID)[redrawn], (2.5, 97.5), method="nearest")
    return ThresholdChoice(
        threshold=GRID[best],
        low=float(low),
        high=float(high),
        faces=faces,
        missed=int(missed[:, best].sum()),
        extras=int(extras[:, best].sum()),
        pictures=len(findings.pictures),
    )


def errors_per_picture(findings: Findings) -> tuple[Float64Array, Float64Array]:
    """Misses and extras of each picture at each threshold of the grid; (pictures, grid) both."""
    grid = np.asarray(GRID)
    shape = (len(findings.pictures), len(grid))
    missed, extras = np.zeros(shape), np.zeros(shape)
    face = findings.face_height >= MIN_HEIGHT
    lost = findings.face_score[face, None] <= grid
    np.add.at(missed, findings.face_picture[face], lost)
    extra = (findings.det_height >= MIN_HEIGHT) & (findings.det_face == UNMATCHED)
    shown = findings.det_score[extra, None] > grid
    np.add.at(extras, findings.det_picture[extra], shown)
    return missed, extras
