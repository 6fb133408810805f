"""Measure a model on a folder of labelled images, and say the figures in a few lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceblur_export.evaluation.evaluation import evaluate
from faceblur_export.evaluation.inference import LetterboxStyle, open_detector
from faceblur_export.evaluation.matching import MatchedFaces, match_images, read_labelled
from faceblur_export.evaluation.report import bin_name
from faceblur_export.progress import ShowItems


@dataclass(frozen=True)
class Ruler:
    """How to measure a model: `size` pixels on the longest side, scores over `threshold` masked."""

    size: int
    style: LetterboxStyle
    threshold: float
    progress: ShowItems = iter

    def measure(self, data: Path, model: str) -> tuple[dict[str, Any], MatchedFaces]:
        """Detect and evaluate.

        Raises:
            FaceblurError: The data or the model cannot be used.
        """
        images = read_labelled(data)
        with open_detector(model) as detector:
            sha256 = detector.model.sha256
            findings = match_images(
                detector, images, size=self.size, style=self.style, progress=self.progress
            )
        content = {
            "data": "/".join(data.resolve().parts[-2:]),
            "model": Path(model).name,
            "model_sha256": sha256,
            "size": self.size,
            "letterbox": self.style,
            **evaluate(findings, threshold=self.threshold),
        }
        return content, findings


def summary(content: Mapping[str, Any]) -> Iterator[str]:
    """The figures as lines for a terminal."""
    head = f"{content['model']} on {content['data']}"
    yield f"{head}: AP50 {_rate(content, 'ap50')}, {content['faces']} faces"
    yield f"  at {content['threshold']:g}: recall {_rate(content, 'recall')}"
    yield f"  of faces ≥ 24 px in the image: {_rate(content, 'recall_identifiable')}"
    for row in content["by_height"]:
        yield (
            f"  {bin_name(row):>6} px: {row['faces']:5d} faces, "
            f"recall {_rate(row, 'recall')}, precision {_rate(row, 'precision')}"
        )


def _rate(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return "–"
    return f"{row[name]:.3f} ({row[f'{name}_low']:.3f}–{row[f'{name}_high']:.3f})"
