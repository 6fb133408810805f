"""`faceblur-export onnx`: a checkpoint becomes an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from faceblur.cli.options import FilePath
from faceblur.cli.progress import ProgressLine
from faceblur_export.extras import needing

if TYPE_CHECKING:
    from faceblur_export.onnx import Precision


@click.command()
@click.argument("checkpoint", type=FilePath)
@click.option("-o", "--output", type=FilePath, required=True, help="The ONNX file to write.")
@click.option("--name", help="Name of the model  [default: that of the checkpoint]")
@click.option("--variant", help="Refuse a checkpoint of any other variant.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Of weights and computation; input and outputs stay the same.",
)
@click.option(
    "--calibration",
    type=FilePath,
    help="For int8: a folder of images, or a video, like what the model will see.",
)
def onnx(
    checkpoint: Path,
    output: Path,
    name: str | None,
    variant: str | None,
    precision: Precision,
    calibration: Path | None,
) -> None:
    """Export CHECKPOINT to ONNX: official, of our own training, or an FP32 ONNX file.

    The word `bundled` stands for the bundled model. Batch, height and width stay free. Code in the
    checkpoint is never run.
    """
    with needing("export"):
        from faceblur_export.onnx import export_onnx
    with ProgressLine("calibrating") as bar:
        model = export_onnx(
            checkpoint,
            output,
            name=name,
            precision=precision,
            variant=variant,
            calibration=calibration,
            progress=bar.share,
        )
    click.echo(f"{model.path}: {model.variant}, {model.precision}, SHA-256 {model.sha256}")
