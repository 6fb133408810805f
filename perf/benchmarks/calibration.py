"""What INT8 loses by the way its ranges are taken, on the training images that are held out."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization

from benchmarks.precision import FRAMES as SAME_SHAPE
from benchmarks.precision import Canvas, Reader, same_shape
from faceblur.detection import models
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.image.formats import readable_suffixes
from faceblur_export.evaluation.evaluation import ap50, interval, resample
from faceblur_export.evaluation.matching import MatchedFaces, match_images, read_labelled
from faceblur_export.onnx_graph.calibration import FRAMES, Calibration, read_calibration
from faceblur_export.onnx_graph.int8 import OPTIONS, left_single
from faceblur_training.data.holdout import held_out, is_held_out
from harness import card_lines, command_line, machine_card, markdown, page_of, write_results


@dataclass(frozen=True)
class Way:
    """How ranges are taken.

    Attributes:
        name: What the table calls it.
        method: ONNX Runtime's.
        options: Given to its quantiser beside those of `faceblur-export`.
        frames: Looked at; if fewer than usual, all of one shape.
    """

    name: str
    method: Any
    options: dict[str, Any]
    frames: int = FRAMES


MIN_MAX: Final = quantization.CalibrationMethod.MinMax
PERCENTILE: Final = quantization.CalibrationMethod.Percentile

WAYS: Final = (
    Way("mean of the frames' extremes, as faceblur-export does", MIN_MAX, {}),
    Way("extremes of all frames", MIN_MAX, {"CalibMovingAverage": False}),
    # Histograms of every layer take memory, and one shape: fewer frames.
    Way("99.999 % of all values", PERCENTILE, {"CalibPercentile": 99.999}, frames=SAME_SHAPE),
)


@dataclass(frozen=True)
class Lost:
    """One way against FP32.

    Attributes:
        way: Its name.
        frames: Calibrated on.
        ap50: Of the model in INT8.
        change: Against FP32.
        low: Of the change, paired 95 % bootstrap.
        high: Likewise.
    """

    way: str
    frames: int
    ap50: float
    change: float
    low: float
    high: float


@click.command("calibration")
@click.argument("train", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def calibration(*, train: Path, model: str, output: Path) -> None:
    """Calibrate INT8 in several ways on the images of TRAIN, and judge each by those held out.

    TRAIN is a folder of training images, some of them labelled. Those that training leaves out
    judge; ranges come from the others.
    """
    output.mkdir(parents=True, exist_ok=True)
    single, info = models.find(model)
    images = held_out(read_labelled(train))
    before = _findings(single, images)
    weights = resample(len(images))
    rows = []
    frames = _frames(train)
    few = same_shape(frames.canvases)
    with tempfile.TemporaryDirectory() as scratch:
        for way in WAYS:
            integer = Path(scratch, "int8.onnx")
            _quantise(single, way, frames.canvases if way.frames == FRAMES else few, integer)
            after = _findings(integer, images)
            low, high = interval(ap50(after, weights) - ap50(before, weights))
            score, whole = float(ap50(after)[0]), float(ap50(before)[0])
            rows.append(Lost(way.name, way.frames, score, score - whole, low or 0.0, high or 0.0))
    card = machine_card() | {
        "onnxruntime": onnxruntime.__version__,
        "model": info.name,
        "sha256": info.sha256,
        "images": len(images),
        "faces": len(before.face_score),
        "ap50 in FP32": round(float(ap50(before)[0]), 4),
    }
    _write(output, card, rows)


def _frames(train: Path) -> Calibration:
    """Images spread evenly over a folder, without those held out."""
    suffixes = readable_suffixes()
    found = sorted(
        path
        for path in train.rglob("*")
        if path.suffix.lower() in suffixes and not is_held_out(path)
    )
    with tempfile.TemporaryDirectory() as folder:
        for number, index in enumerate(np.linspace(0, len(found) - 1, FRAMES)):
            path = found[round(index)]
            Path(folder, f"{number:04d}{path.suffix}").symlink_to(path.resolve())
        return read_calibration(Path(folder))


def _quantise(single: Path, way: Way, canvases: Sequence[Canvas], output: Path) -> None:
    quantization.quantize_static(
        single,
        output,
        Reader(canvases),
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=sorted(left_single(onnx.load(single))),
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=way.method,
        extra_options={**OPTIONS, **way.options},
    )
    told = {entry.key: entry.value for entry in onnx.load(single).metadata_props}
    model = onnx.load(output)
    onnx.helper.set_model_props(model, told | {"precision": "int8"})
    onnx.save(model, output)


def _findings(model: Path, images: Sequence[Any]) -> MatchedFaces:
    with contextlib.closing(InProcessDetector(model, instances=1, threads=1)) as detector:
        return match_images(detector, images)


def _write(output: Path, card: dict[str, object], rows: Sequence[Lost]) -> None:
    command = command_line(sys.argv)
    document = {"command": command, "card": card, "ways": [asdict(row) for row in rows]}
    cells = [
        (
            row.way,
            row.frames,
            f"{row.ap50:.3f}",
            f"{row.change:+.3f} ({row.low:+.3f} to {row.high:+.3f})",
        )
        for row in rows
    ]
    parts = [
        "# calibration",
        f"`{command}`",
        "The same layers of the same model in INT8, with ranges taken in several ways, "
        "compared with FP32 on the labelled training images that are held out. Ranges come from "
        "other images of that folder.",
        markdown("ranges are | frames | AP50 | change (95 %)", cells),
        card_lines(card),
    ]
    text = page_of(parts)
    write_results(output, "calibration", document, text)
    click.echo(text)
