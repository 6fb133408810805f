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
    of the difference below zero counts as lower.
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
    ]


def _spread(comparison: Mapping[str, Any], name: str, form: str) -> str:
    values = [comparison[name], comparison[f"{name}_low"], comparison[f"{name}_high"]]
    if None in values:
        return "nothing to measure"
    value, low, high = (form.format(number) for number in values)
    return f"{value} (95 %: {low} to {high})"
