"""The page of the first moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.coverage.passers import (
    HEIGHTS,
    MIN_TURNED,
)
from benchmarks.coverage.score import Score
from faceblur.live.options import DEFAULT_LOOKAHEAD
from harness import card_lines, markdown, page_of, verdict, write_results

LOOKAHEADS: Final = (0, 3, 5, 8, 15)
FILE: Final = "as a file"
MOST_PER_1000: Final = 2.0
"""Leaked face-frames that a default may have in the drawn clips."""

Scores = dict[str, dict[str, Score]]
"""By walk or clip, then by look-ahead."""


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        made: By rate, where faces are known.
        real: By rate, on pseudo-labels.
        passes: What made those.
        agreeing: How many of them had to agree.
        seconds: Of each real clip.
    """

    made: dict[str, Scores]
    real: dict[str, Scores]
    passes: Sequence[str]
    agreeing: int
    seconds: float

    def write(self, folder: Path, *, card: dict[str, object], command: str) -> None:
        """Write moment.json and moment.md."""
        totals = {fps: _joined(scores.values()) for fps, scores in self.made.items()}
        document = {
            "command": command,
            "card": card,
            "made": {fps: _plain(scores) for fps, scores in self.made.items()},
            "totals": _plain(totals),
            "real": {fps: _plain(scores) for fps, scores in self.real.items() if scores},
            "passes": list(self.passes),
            "agreeing": self.agreeing,
        }
        default = f"lookahead {DEFAULT_LOOKAHEAD}"
        parts = [
            "# moment",
            f"`{command}`",
            "Leaked face-frames of 1,000 on a live camera, by the frames that it looks ahead "
            "(seconds of delay in brackets), and in brackets those before the first mask of a "
            "face. *As a file* is what the same frames give with all of the future known.",
            "## People cut out of labelled photographs: exact places",
            f"They walk in and out, pass behind pillars, and turn round. Faces are "
            f"{', '.join(f'{h:g}' for h in HEIGHTS)} pixels high. A face counts from where a tenth "
            f"of it shows, one that turns from where {MIN_TURNED:.0%} of its front does.",
            self._verdict(totals, default),
        ]
        for fps, scores in self.made.items():
            rows = scores | {"**all**": totals[fps]}
            parts += [f"### {fps} frames a second", _table(rows, float(fps))]
        if any(self.real.values()):
            parts += [
                "## Real clips: pseudo-labels, not truth",
                f"{self.seconds:g} s of each, faces on which at least {self.agreeing} of "
                f"{len(self.passes)} passes agree: {'; '.join(self.passes)}. Many of these faces "
                "are never detected at 640 pixels, which no look-ahead mends.",
            ]
            for fps, scores in self.real.items():
                if scores:
                    parts += [f"### {fps} frames a second, real", _table(scores, float(fps))]
        parts += [card_lines(card)]
        write_results(folder, "moment", document, page_of(parts))

    def _verdict(self, totals: Scores, default: str) -> str:
        lines = []
        for fps, row in totals.items():
            leaks = row[default].per_1000
            met = verdict(leaks <= MOST_PER_1000)
            lines.append(
                f"- {met} at {fps} fps: at most {MOST_PER_1000:g} of 1,000 leak at the default, "
                f"{default}: {leaks:.1f}"
            )
        return "\n".join(lines)


def _joined(rows: Iterable[dict[str, Score]]) -> dict[str, Score]:
    listed = list(rows)
    return {way: Score.joined([row[way] for row in listed]) for way in listed[0]}


def _plain(scores: Scores) -> dict[str, dict[str, dict[str, float]]]:
    return {
        name: {way: asdict(s) | {"per_1000": s.per_1000} for way, s in row.items()}
        for name, row in scores.items()
    }


def _table(scores: Scores, fps: float) -> str:
    heads = [f"{n} ({n / fps:.2g} s)" for n in LOOKAHEADS]
    rows = [
        (
            name,
            next(iter(row.values())).face_frames,
            *(f"{s.per_1000:.1f} ({_first(s):.1f})" for s in row.values()),
        )
        for name, row in scores.items()
    ]
    return markdown(" | ".join(("", "face-frames", *heads, FILE)), rows)


def _first(score: Score) -> float:
    """Of 1,000 face-frames those before the first mask of a face."""
    return 1000 * score.first_mask_mean * score.appearances / max(1, score.face_frames)
