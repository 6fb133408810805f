"""What a gate found, beside the model that it judged."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faceblur.errors import ModelError
from faceblur.files import atomic_path, file_sha256
from faceblur.schema.conversion import from_json


@dataclass(frozen=True)
class Loss:
    """One figure of a candidate against the reference's, both 0–1.

    `allowed` is what the candidate may lie below; `low` and `high` are the 2.5th and 97.5th
    percentile of candidate less reference over resampled images.
    """

    figure: str
    faces: int
    reference: float
    candidate: float
    allowed: float
    low: float
    high: float
    passed: bool

    @property
    def change(self) -> float:
        """Candidate less reference."""
        return self.candidate - self.reference

    def __str__(self) -> str:
        """One line for a terminal."""
        return (
            f"{'passed ' if self.passed else 'REFUSED'}  {self.figure}: {self.candidate:.3f} "
            f"against {self.reference:.3f}, {self.change:+.3f} (95 %: {self.low:+.3f} to "
            f"{self.high:+.3f}), {self.faces} faces"
        )


@dataclass(frozen=True)
class GateRecord:
    """A judgement: of which files (SHA-256, hexadecimal), on what images, at `size` pixels."""

    candidate: str
    candidate_sha256: str
    precision: str
    reference_sha256: str
    data: str
    pictures: int
    size: int
    threshold: float
    losses: tuple[Loss, ...]

    def __post_init__(self) -> None:
        if not self.losses:
            raise ValueError("nothing was judged")

    @property
    def passed(self) -> bool:
        """Whether the candidate may replace the reference."""
        return all(loss.passed for loss in self.losses)

    def summary(self) -> str:
        """The judgement in a few words."""
        average = self.losses[0]
        state = "passed" if self.passed else "refused"
        return f"{state} on {self.pictures} images of {self.data}, AP50 {average.change:+.4f}"

    def raise_if_refused(self, candidate: Path) -> None:
        """Refuse a candidate that lost too much.

        Raises:
            ModelError: It did; the message names the figure that fell most beyond its allowance.
        """
        if not self.passed:
            refused = [loss for loss in self.losses if not loss.passed]
            worst = min(refused, key=lambda loss: loss.change + loss.allowed)
            advice = {
                "int8": "calibrate it on frames like those it will see, or serve FP16",
                "bf16": "ONNX Runtime goes on running it",
            }.get(self.precision, "serve FP32")
            raise ModelError(
                f"{candidate} is refused: {worst.figure} is {worst.candidate:.3f}, against "
                f"{worst.reference:.3f} in FP32; {advice}"
            )


def record_path(model: Path) -> Path:
    """Where the record of an ONNX file lies."""
    return model.with_name(f"{model.name}.gate.json")


def write_record(path: Path, record: GateRecord) -> None:
    """Write a record in one step.

    Raises:
        OutputError: It cannot be written.
    """
    content = asdict(record) | {"passed": record.passed}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def require_passed(model: Path) -> GateRecord:
    """The record of a model that passed.

    Raises:
        ModelError: It was refused, was never judged, or has changed since.
    """
    path = record_path(model)
    command = shlex.join(["faceblur-export", "gate", str(model)])
    advice = f"judge it with: {command} --data FOLDER_OF_LABELLED_IMAGES"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        content.pop("passed", None)
        record = from_json(content, GateRecord, str(path))
    except FileNotFoundError as error:
        raise ModelError(f"{model} has not passed the accuracy gate; {advice}") from error
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ModelError(f"the record {path} cannot be read; {advice}") from error
    if record.candidate_sha256 != file_sha256(model, refusal=ModelError):
        raise ModelError(f"{model} has changed since it was judged; {advice}")
    record.raise_if_refused(model)
    return record
