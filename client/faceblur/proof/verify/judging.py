"""Judge the regions of one frame: is a face there masked or not?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from faceblur.boxes import box_iou, box_overlap
from faceblur.detections import Detections
from faceblur.masks.style import MaskMode, MaskStyle
from faceblur.proof.verify.evidence import (
    Box,
    Grey,
    Surroundings,
    compare,
    shows_face,
    still_shown,
)
from faceblur.proof.verify.report import Reason
from faceblur.proof.verify.wholes import stands_still

Boxes = npt.NDArray[np.float32]

_MARGIN: Final = 0.2
"""What masks add to a box by default."""

_WITHIN: Final = 0.6
"""Part of a face that lies in a region the audit names: that face was masked with it."""

_SAME_IOU: Final = 0.5

_CROWD: Final = 200
"""Regions in a frame from which on it may have been checked in parts."""

_CLEAR: Final = 2.0
"""Times the threshold: a score that says enough by itself."""

_PLAIN_MODES: Final[frozenset[MaskMode]] = frozenset({"veil", "solid"})
"""Masks without detail of their own; what others show cannot be told from a face by itself."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What was decided about one region.

    Attributes:
        box: In pixels of the output.
        score: The detector's; None for a region that only the audit names.
        reason: What it is if it shows.
        shows: Whether a face shows there; None if nobody can tell.
        kept: How much of the source's detail is left; None without a source.
    """

    box: Box
    score: float | None
    reason: Reason
    shows: bool | None
    kept: float | None = None


def judge_beside(
    source: Grey, output: Grey, original: Detections, faces: Detections, claimed: Boxes
) -> tuple[bool, list[Verdict]]:
    """Judge a frame beside its source; `claimed` is what the audit says was masked.

    Returns:
        Whether both show the same outside the regions, or else nobody can tell; and the regions.
    """
    # Encoders may have needed a few rows or columns more.
    output = output[: source.shape[0], : source.shape[1]]
    found = np.concatenate([original.rows(), faces.rows()])
    new = [box_iou(box, original.boxes).max(initial=0) < _SAME_IOU for box in faces.boxes]
    found = found[np.array([*([True] * len(original)), *new], np.bool_)]
    reasons: list[Reason] = ["shown" if i < len(original) else "face" for i in range(len(found))]
    surroundings = Surroundings(source, output, _expand(np.concatenate([found[:, :4], claimed])))
    if not surroundings.alike:
        # Beside another image everything has changed.
        return False, [Verdict(row[:4], float(row[4]), "shown", None) for row in found]
    audited = [
        _judge_region(source, output, box, None, "not masked", surroundings) for box in claimed
    ]
    bare = np.array([v.box for v in audited if v.shows], np.float32).reshape(-1, 4)
    verdicts = [
        _judge_region(source, output, row[:4], float(row[4]), reason, surroundings)
        for row, reason in zip(found, reasons, strict=True)
        if box_iou(row[:4], bare).max(initial=0) < _SAME_IOU
    ]
    return True, [*audited, *verdicts]


def is_held(since: Grey, source: Grey, masked: Boxes) -> bool:
    """Whether a source has not changed but where it is masked: what is written is the same then."""
    return stands_still(since, source, _expand(masked, MaskStyle().expand))


def judge_alone(
    output: Grey, faces: Detections, claimed: Boxes, *, mode: MaskMode | None
) -> Iterator[Verdict]:
    """Judge a frame by itself; with a `mode`, an audit says that `claimed` was masked so."""
    scored: Iterable[tuple[Box, np.float32]] = zip(faces.boxes, faces.scores, strict=True)
    if mode is None:
        for box, score in scored:
            yield Verdict(box, float(score), "face", shows_face(output, box))
        return
    covered = _expand(claimed)
    for box, score in scored:
        common, own, _ = box_overlap(box, covered)
        if (common / np.maximum(own, 1e-6)).max(initial=0) < _WITHIN:
            yield Verdict(box, float(score), "face", True)
    for box in claimed:
        shows = shows_face(output, box) if mode in _PLAIN_MODES else None
        yield Verdict(box, None, "not masked", shows)


def settle_crowd(
    found: Detections, again: Callable[[], Detections], threshold: float
) -> Detections:
    """Tell apart what masking has seen of a crowd, and what only lower scores brought up.

    Where so much may be a face that the detector checks parts, it sees things that it does not
    see in the whole. A score that is not clear makes them doubtful, and no leaks.

    Args:
        found: What scores half of the threshold or more.
        again: Detects again, what scores the threshold or more.
        threshold: Lowest score that counts as a face.
    """
    if len(found) < _CROWD:
        return found
    seen = again()
    known = np.array([box_iou(box, seen.boxes).max(initial=0) >= _SAME_IOU for box in found.boxes])
    clear = found.scores >= _CLEAR * threshold
    scores = np.where(known | clear, found.scores, np.minimum(found.scores, threshold * 0.99))
    missed = np.array([box_iou(box, found.boxes).max(initial=0) < _SAME_IOU for box in seen.boxes])
    rows = np.concatenate([found.rows(), seen.rows()[missed.astype(np.bool_)]])
    rows[: len(found), 4] = scores
    return Detections.from_rows(rows)


def _judge_region(
    source: Grey,
    output: Grey,
    box: Box,
    score: float | None,
    reason: Reason,
    surroundings: Surroundings,
) -> Verdict:
    region = compare(source, output, box)
    if region is None:
        return Verdict(box, score, reason, None)
    return Verdict(box, score, reason, still_shown(region, surroundings.of(box)), region.kept)


def _expand(boxes: Boxes, by: float = _MARGIN) -> Boxes:
    margin = (boxes[:, 2:] - boxes[:, :2]) * by
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)
