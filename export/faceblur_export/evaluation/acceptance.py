"""Whether a model may replace another: one verdict for each thing that is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """One requirement on a data set: what is asked, in words, what was found, and if it is met."""

    data: str
    asked: str
    measured: str
    met: bool

    def __str__(self) -> str:
        """One line for a terminal."""
        return f"{'met   ' if self.met else 'MISSED'}  {self.data}: {self.asked}: {self.measured}"


def judge(data: str, comparison: Mapping[str, Any], *, ap50_ratio: float) -> list[Verdict]:
    """Judge a comparison that `evaluation.compare` made.

    AP50 must reach its share of the other model's as measured, not within an interval. Recall of
    identifiable faces must not be lower beyond the paired bootstrap interval: the whole interval
    of the difference below zero counts as lower. Precision must be at least the other's, each at
    the threshold at which it finds as many faces as the candidate does at its own.
    """
    share = comparison["ap50_ratio"]
    high = comparison["recall_identifiable_difference_high"]
    return [
        Verdict(
            data,
            f"AP50 at least {ap50_ratio:g} of the other's",
            _spread(comparison, "ap50_ratio", "{:.3f}"),
            share is not None and share >= ap50_ratio,
        ),
        Verdict(
            data,
            "recall of faces of 24 px and more not lower beyond the interval",
            _spread(comparison, "recall_identifiable_difference", "{:+.3f}"),
            high is not None and high >= 0,
        ),
        _precision(data, comparison),
    ]


def _precision(data: str, comparison: Mapping[str, Any]) -> Verdict:
    ours, other = comparison["precision_at_recall"], comparison["other_precision_at_recall"]
    asked = "precision at least the other's at the recall of the shipped threshold"
    if ours is None:
        return Verdict(data, asked, "nothing to measure", False)
    found = f"{ours:.3f} at a recall of {comparison['recall']:.3f}"
    if other is None:
        return Verdict(data, asked, f"{found}, which the other never reaches", True)
    return Verdict(data, asked, f"{found}, the other's is {other:.3f}", ours >= other)


def _spread(comparison: Mapping[str, Any], name: str, form: str) -> str:
    values = [comparison[name], comparison[f"{name}_low"], comparison[f"{name}_high"]]
    if None in values:
        return "nothing to measure"
    value, low, high = (form.format(number) for number in values)
    return f"{value} (95 %: {low} to {high})"
