"""What a model of lower precision may lose, and what it has lost.

A reference and a candidate look at the same labelled images. The candidate is refused if

* its AP50 is more than `AP50_LOSS` below the reference's, or
* in any bin of face heights, its recall at the threshold is lower by more than `RECALL_LOSS` and by
  more than one face, or
* in any bin, the whole paired bootstrap interval of the difference in recall lies below zero: a
  loss that is certain, however small.

A bin with fewer than `MIN_FACES` faces cannot be judged, and what cannot be judged does not pass.
Every figure is a point estimate or a seeded bootstrap, so the same files give the same judgement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from faceblur.errors import InputError
from faceblur_export.evaluation.evaluation import (
    HEIGHT_BINS,
    ap50,
    interval,
    recall_share,
    resample,
)
from faceblur_export.evaluation.matching import BoolArray, MatchedFaces
from faceblur_export.evaluation.metrics import Float64Array
from faceblur_export.gate.record import Loss

AP50_LOSS: Final = 0.01
"""One AP50 point."""

RECALL_LOSS: Final = 0.01
"""One face in a hundred."""

MIN_FACES: Final = 20
"""Fewer faces say nothing about a height."""


def _bins(findings: MatchedFaces) -> Iterator[tuple[str, BoolArray]]:
    """Each bin of face heights, and which (F,) faces are in it."""
    for bottom, top in HEIGHT_BINS:
        name = f"{bottom:g}–{top:g} px" if np.isfinite(top) else f"{bottom:g} px and more"
        yield name, (findings.face_height >= bottom) & (findings.face_height < top)


def check_enough(findings: MatchedFaces, data: Path) -> None:
    """Refuse labelled images with too few faces to judge by.

    Raises:
        InputError: A bin of face heights has too few.
    """
    for name, chosen in _bins(findings):
        if chosen.sum() < MIN_FACES:
            raise InputError(
                f"{data} holds only {chosen.sum()} faces of {name} on the network's canvas, and a "
                f"judgement needs {MIN_FACES}; add labelled images that show some"
            )


def losses(reference: MatchedFaces, candidate: MatchedFaces, *, threshold: float) -> Iterator[Loss]:
    """By how much a candidate is worse than its reference, figure by figure.

    Args:
        reference: What the reference found on the labelled images.
        candidate: What the candidate found on the same ones.
        threshold: Score above which a face counts as found.
    """
    weights = resample(len(reference.images))
    averages = [float(ap50(findings)[0]) for findings in (reference, candidate)]
    yield _loss(
        "AP50",
        len(reference.face_score),
        averages,
        AP50_LOSS,
        ap50(candidate, weights) - ap50(reference, weights),
    )
    for name, chosen in _bins(reference):
        faces = int(chosen.sum())
        shares = [recall_share(f, threshold, chosen) for f in (reference, candidate)]
        loss = _loss(
            f"recall of faces of {name}",
            faces,
            [float(share.part.sum()) / faces for share in shares],
            max(1, RECALL_LOSS * faces) / faces,
            shares[1].over(weights) - shares[0].over(weights),
        )
        yield replace(loss, passed=loss.passed and loss.high >= 0)


def _loss(
    figure: str, faces: int, values: list[float], allowed: float, samples: Float64Array
) -> Loss:
    low, high = interval(samples)
    reference, candidate = values
    # A figure that is just as much lower as it may be is not refused for the last bit of it.
    passed = reference - candidate <= allowed + 1e-9
    return Loss(figure, faces, reference, candidate, allowed, low or 0.0, high or 0.0, passed)
