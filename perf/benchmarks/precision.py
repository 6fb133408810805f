"""What FP16 and INT8 cost and bring on this machine's CPU, against FP32, in one run."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnxruntime import quantization

from faceblur.detection import models
from faceblur.detection.models import INPUT, OUTPUTS, open_onnx
from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur_export.gate import gate
from faceblur_export.gate.record import GateRecord
from faceblur_export.onnx import export_onnx
from faceblur_export.onnx_graph.calibration import Calibration, read_calibration
from faceblur_export.onnx_graph.int8 import left_single
from harness import (
    Contender,
    Row,
    card_lines,
    command_line,
    interleave,
    machine_card,
    markdown,
    page_of,
    summarise,
    table,
    write_results,
)

FRAMES: Final = 16
Canvas = npt.NDArray[np.uint8]
FilePath = click.Path(path_type=Path, exists=True)


@click.command("precision")
@click.argument("labelled", type=FilePath)
@click.option("--calibration", type=FilePath, required=True, help="Frames for INT8: not LABELLED.")
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def precision(*, labelled: Path, calibration: Path, model: str, rounds: int, output: Path) -> None:
    """Speed of ONNX Runtime in each precision, and what the gate says on the LABELLED images.

    One thread, one image at a time. INT8 comes in two forms: the one that `faceblur-export`
    makes for TensorRT, and the one that ONNX Runtime's own CPU kernels ask for.
    """
    single, info = models.find(model)
    with tempfile.TemporaryDirectory() as scratch:
        files = {"FP32": single} | _lower(single, calibration, Path(scratch))
        judged = {
            name: gate.judge(path, labelled, reference=single)
            for name, path in files.items()
            if name != "FP32"
        }
        canvases = same_shape(read_calibration(labelled).canvases)
        contenders = [Contender(name, _work(path, canvases)) for name, path in files.items()]
        samples = interleave(contenders, rounds=rounds)
        sizes = {name: path.stat().st_size for name, path in files.items()}
    rows = summarise(contenders, samples, units=len(canvases))
    height, width = canvases[0].shape[:2]
    card = machine_card() | {
        "onnxruntime": onnxruntime.__version__,
        "integer instructions": _instructions(),
        "model": info.name,
        "sha256": info.sha256,
        "threads": 1,
        "images": f"{len(canvases)} of {height} × {width}",
        "threshold": DEFAULT_THRESHOLD,
        "calibrated on": calibration.name,
    }
    document = {
        "command": command_line(sys.argv),
        "card": card,
        "bytes": sizes,
        "rows": [asdict(row) for row in rows],
        "gate": {n: asdict(record) | {"passed": record.passed} for n, record in judged.items()},
        "samples": [asdict(sample) for sample in samples],
    }
    text = _page(document["command"], rows, judged, card)
    write_results(output, "precision", document, text)
    click.echo(text)


def _lower(single: Path, calibration: Path, folder: Path) -> dict[str, Path]:
    """The same model in FP16 and in both forms of INT8."""
    files = {
        "FP16": folder / "fp16.onnx",
        "INT8 for TensorRT": folder / "int8.onnx",
        "INT8 for the CPU": folder / "cpu.onnx",
    }
    half, integer, cpu = files.values()
    export_onnx(single, half, precision="fp16")
    export_onnx(single, integer, precision="int8", calibration=calibration)
    _for_cpu(single, read_calibration(calibration), cpu)
    return files


def _for_cpu(single: Path, calibration: Calibration, output: Path) -> None:
    """INT8 as ONNX Runtime documents it for x86 with VNNI; the same layers and the same frames."""
    quantization.quantize_static(
        single,
        output,
        Reader(calibration.canvases),
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=sorted(left_single(onnx.load(single))),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        extra_options={"CalibMovingAverage": True},
    )
    model = onnx.load(output)
    told = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, told | {"precision": "int8"})
    onnx.save(model, output)


class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Gives ONNX Runtime's quantiser one model input after the other."""

    def __init__(self, canvases: Sequence[Canvas]) -> None:
        self._frames: Iterator[Canvas] = iter(canvases)

    def get_next(self) -> dict[str, Any] | None:
        """The next one as the model's input, None after the last."""
        canvas = next(self._frames, None)
        return None if canvas is None else {INPUT: canvas[None]}


def same_shape(canvases: Sequence[Canvas]) -> list[Canvas]:
    """Canvases of the most common shape."""
    shapes = [canvas.shape for canvas in canvases]
    usual = max(sorted(set(shapes)), key=shapes.count)
    return [canvas for canvas in canvases if canvas.shape == usual][:FRAMES]


def _work(path: Path, canvases: Sequence[Canvas]) -> Any:
    session = open_onnx(path, threads=1)

    def work() -> None:
        for canvas in canvases:
            session.run(OUTPUTS, {INPUT: canvas[None]})

    return work


def _instructions() -> str:
    """Which of the processor's instructions for INT8 and 16 bits Linux names."""
    known = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
    flags = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "flags" in line), ""
    ).split()
    return ", ".join(name for name in known if name in flags) or "unknown"


def _page(
    command: str, rows: Sequence[Row], judged: dict[str, GateRecord], card: dict[str, object]
) -> str:
    some = next(iter(judged.values()))
    head = " | ".join(("against FP32", *(loss.figure for loss in some.losses), "gate"))
    changes = [("FP32 itself", *(f"{loss.reference:.3f}" for loss in some.losses), "")]
    for name, record in judged.items():
        cells = [
            f"{loss.change:+.3f} ({loss.low:+.3f} to {loss.high:+.3f})" for loss in record.losses
        ]
        changes.append((name, *cells, "passed" if record.passed else "refused"))
    faces = ", ".join(f"{loss.faces} ({loss.figure})" for loss in some.losses)
    parts = [
        "# precision",
        f"`{command}`",
        "The same model in each precision, by ONNX Runtime on the CPU. Speed:",
        table(rows, unit="images"),
        f"What the accuracy gate found on the {some.pictures} labelled images of `{some.data}` "
        "(changes with paired 95 % bootstrap intervals):",
        markdown(head, changes, left=(0, len(some.losses) + 1)),
        f"Faces: {faces}.",
        card_lines(card),
    ]
    return page_of(parts)
