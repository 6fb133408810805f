"""What a verification found, as a value, as JSON for programs and as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

from faceblur.detection.detector import ModelInfo
from faceblur.detections import PIXEL_DIGITS, SCORE_DIGITS, TIME_DIGITS
from faceblur.files import write_json
from faceblur.image.pixels import BgrImage
from faceblur.proof.verify.evidence import Box

Reason = Literal["shown", "face", "not masked"]

_SENTENCES: Final[dict[Reason, str]] = {
    "shown": "a face is still shown as in the source",
    "face": "a face that nothing masks",
    "not masked": "the audit says that this was masked, and it is not",
}

_SHOWN_LINES: Final = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Region:
    """One region of one frame.

    Attributes:
        frame: Index of the frame in the output, counted from 0.
        box: In pixels of the output.
        score: The detector's; None for a box that only the audit names.
        kept: How much of the source's detail is left, 1 for all; None without a source.
    """

    frame: int
    time_s: Fraction
    box: Box
    score: float | None
    reason: Reason
    kept: float | None

    def to_json(self) -> dict[str, Any]:
        """The finding in JSON; pixels to 1/100, times to 1 µs."""
        return {
            "frame": self.frame,
            "time_s": round(float(self.time_s), TIME_DIGITS),
            "box": [round(float(value), PIXEL_DIGITS) for value in self.box],
            "score": None if self.score is None else round(self.score, SCORE_DIGITS),
            "reason": self.reason,
            "kept": None if self.kept is None else round(self.kept, SCORE_DIGITS),
        }

    def sentence(self) -> str:
        """The finding for a person."""
        x1, y1, x2, y2 = (round(float(value)) for value in self.box)
        known = [] if self.score is None else [f"score {self.score:.2f}"]
        known += [] if self.kept is None else [f"{max(0.0, self.kept):.0%} of its detail left"]
        facts = f" ({', '.join(known)})" if known else ""
        return (
            f"frame {self.frame} at {float(self.time_s):.3f} s: {_SENTENCES[self.reason]}, "
            f"x {x1}-{x2}, y {y1}-{y2}{facts}"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class VerifyReport:
    """What a verification found.

    Attributes:
        threshold: Lowest score that counted as a face.
        leaks: What is not masked.
        doubtful: What is not masked either, but has a lower score: seldom a face.
        spared: What is not masked on purpose, as the audit's policy says.
        unjudged: Regions too small or too plain to tell.
        dim: Index and time of frames too dark or flat to tell whether there is a face; each is a
            reason why the result cannot be relied upon.
        problems: One sentence for each reason why the result cannot be relied upon.
        leak_images: Parts of the output around some of the leaks, with what they show.
    """

    output: Path
    source: Path | None
    audit: str | None
    model: ModelInfo
    threshold: float
    frames: int
    regions: int
    leaks: Sequence[Region]
    doubtful: Sequence[Region]
    spared: Sequence[Region]
    unjudged: int
    problems: Sequence[str]
    leak_images: Sequence[tuple[Region, BgrImage]] = field(default=(), repr=False)
    strict: bool = False
    dim: Sequence[tuple[int, Fraction]] = ()

    @property
    def exit_code(self) -> int:
        """0 clean, 1 leaks, 2 the verification cannot be relied upon."""
        if self.leaks or (self.strict and self.doubtful):
            return 1
        return 2 if self.problems else 0

    def to_json(self) -> dict[str, Any]:
        """Everything but the images."""
        return {
            "output": str(self.output),
            "source": None if self.source is None else str(self.source),
            "audit": self.audit,
            "model": {"name": self.model.name, "sha256": self.model.sha256},
            "threshold": self.threshold,
            "strict": self.strict,
            "frames": self.frames,
            "regions": self.regions,
            "unjudged": self.unjudged,
            "too_dark_or_flat": [
                {"frame": frame, "time_s": round(float(time_s), TIME_DIGITS)}
                for frame, time_s in self.dim
            ],
            "result": ("clean", "leaks", "error")[self.exit_code],
            "leaks": [finding.to_json() for finding in self.leaks],
            "doubtful": [finding.to_json() for finding in self.doubtful],
            "spared": [finding.to_json() for finding in self.spared],
            "problems": list(self.problems),
        }

    def write(self, path: Path) -> None:
        """Write all that was found as JSON.

        Raises:
            OutputError: The file cannot be written.
        """
        write_json(path, self.to_json())

    def lines(self) -> list[str]:
        """Leaks and problems, one line each; of many leaks the first."""
        shown = [*self.leaks, *(self.doubtful if self.strict else ())]
        lines = [finding.sentence() for finding in shown[:_SHOWN_LINES]]
        more = len(shown) - len(lines)
        lines += [f"and {more} more leaks; --json FILE lists all"] if more else []
        return lines + list(self.problems)

    def summary(self) -> str:
        """The result in one line."""
        frames = len({finding.frame for finding in self.leaks})
        checked = f"{_count(self.regions, 'region')} checked in {_count(self.frames, 'frame')}"
        if self.leaks:
            text = f"{_count(len(self.leaks), 'leak')} in {_count(frames, 'frame')}"
        else:
            text = "not verified" if self.problems else "no leak found"
        text = f"{self.output}: {text}; {checked}"
        if self.doubtful:
            text += f"; {len(self.doubtful)} doubtful"
        if self.spared:
            text += f"; {len(self.spared)} left alone on purpose"
        if self.unjudged:
            text += f"; {self.unjudged} too small or too plain to judge"
        if self.dim:
            text += f"; {_count(len(self.dim), 'frame')} too dark or flat to judge"
        return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
