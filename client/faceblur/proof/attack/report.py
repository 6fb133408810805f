"""What an attack came to, as JSON for programs and as Markdown for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faceblur.files import write_json
from faceblur.proof.attack.attack import SEED, Trial, Verdict
from faceblur.proof.attack.figures import Figure
from faceblur.proof.attack.masks import BASELINE

ROLES = {
    "shipped": "Masks of faceblur",
    "control": "Controls that have to be recognised",
    "study": "Masks that are not shipped",
}


@dataclass(frozen=True)
class AttackReport:
    """An attack and its outcome."""

    recogniser: str
    detector: str
    trials: Sequence[Trial]
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """All figures; rates are 0-1."""
        return {
            "recogniser": self.recogniser,
            "detector": self.detector,
            "seed": SEED,
            "passed": self.verdict.passed,
            "conclusive": self.verdict.conclusive,
            "failures": list(self.verdict.failures),
            "trials": [asdict(trial) for trial in self.trials],
        }

    def to_markdown(self) -> str:
        """A table for each kind of mask, and the verdict."""
        parts = [
            "# How recognisable masked faces are",
            f"Recogniser {self.recogniser}, faces found by the {self.detector} model. Every face "
            'is cropped, then masked. "Clear": the gallery holds clear images. "Masked": it '
            "holds images masked in the same way (the parrot attack). Rank-1: the nearest of "
            "all people is the right one. TAR: right pairs accepted where 1 % of the wrong ones "
            "are. 95 % intervals in brackets: Wilson, for the AUC bootstrap over people.",
        ]
        for role, title in ROLES.items():
            trials = [trial for trial in self.trials if trial.role == role]
            if trials:
                parts.append(f"## {title}\n\n{_table(trials)}")
        parts.append(f"## Verdict\n\n{self.summary()}")
        return "\n\n".join(parts) + "\n"

    def summary(self) -> str:
        """The verdict in a few lines."""
        if not self.verdict.conclusive:
            return (
                "Inconclusive: at the largest size not even unmasked and weakly blurred faces are "
                "recognised. Give more, larger or clearer faces."
            )
        if self.verdict.failures:
            return "\n".join(f"- {failure}" for failure in self.verdict.failures)
        return (
            "No shipped mask is recognised beyond chance from clear images, and the default not "
            f"more than {BASELINE} from masked ones."
        )

    def write(self, path: Path) -> None:
        """Write all figures as JSON.

        Raises:
            OutputError: The file cannot be written.
        """
        write_json(path, self.to_json())


def _table(trials: Sequence[Trial]) -> str:
    lines = [
        "| mask | face | people | chance | clear: rank-1 | top-5 | TAR | AUC "
        "| masked: rank-1 | top-5 | TAR | AUC |",
        "|---|---:|---:|---:|---|---|---|---|---|---|---|---|",
    ]
    for trial in trials:
        matches = (trial.clear, trial.masked)
        cells = [_rate(f) for m in matches for f in (m.rank_1, m.top_5, m.tar, m.auc)]
        head = f"{trial.mask} | {trial.height} px | {trial.people}"
        lines.append(f"| {head} | {trial.clear.rank_1.chance:.3f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rate(figure: Figure) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f}-{figure.high:.3f})"
