"""In which precision a model may run on a GPU: what the accuracy gate passed there, else FP32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from faceblur.files import file_sha256

Precision = Literal["fp32", "tf32", "fp16"]


def record_path(model: Path) -> Path:
    """Where the accuracy gate leaves what it found of a model on a GPU."""
    return model.with_name(f"{model.name}.cuda.json")


def half_path(model: Path) -> Path:
    """Where a model's form in FP16 lies."""
    return model.with_name(f"{model.stem}.fp16.onnx")


def chosen_precision(onnx: Path) -> tuple[Path, Precision]:
    """The file to run and its precision: lower than FP32 only where it passed the gate on a GPU."""
    half = half_path(onnx)
    if _passed(half, onnx, "fp16"):
        return half, "fp16"
    return onnx, "tf32" if _passed(onnx, onnx, "tf32") else "fp32"


def _passed(candidate: Path, reference: Path, precision: Precision) -> bool:
    try:
        record = json.loads(record_path(candidate).read_text(encoding="utf-8"))
        return (
            record["passed"] is True
            and record["precision"] == precision
            and record["candidate_sha256"] == file_sha256(candidate)
            and record["reference_sha256"] == file_sha256(reference)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
