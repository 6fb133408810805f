"""`faceblur-export tensorrt`: a plan for a GPU."""

from __future__ import annotations

from pathlib import Path

import click

from faceblur.cli.options import SIZE_OPTION, FilePath
from faceblur.cli.progress import ProgressLine
from faceblur.detection.repository import shipped_onnx
from faceblur_export.cli.options import data_option, precision_option
from faceblur_export.extras import needing


@click.command()
@click.argument("model", type=FilePath, required=False, metavar="[ONNX]")
@click.option(
    "-o", "--output", type=FilePath, required=True, help="Folder for model.plan and its manifest."
)
@precision_option
@SIZE_OPTION
@data_option
@click.option(
    "--check", is_flag=True, help="Build nothing: is the plan there fit for this machine?"
)
def tensorrt(
    model: Path | None, output: Path, precision: str, size: int, data: Path | None, check: bool
) -> None:
    """Build a TensorRT plan on the GPU that will run it.

    ONNX is a file made by `faceblur-export onnx`; the bundled model when left out. The manifest
    beside the plan says what it was built from, by and for.
    """
    with needing("export"):
        from faceblur_export.tensorrt.builders import find_builder
        from faceblur_export.tensorrt.gpu import gpus
        from faceblur_export.tensorrt.plan import PLAN_NAME, PlanOptions, build_plan, check_plan
    builder, present = find_builder(), gpus()
    plan = output / PLAN_NAME
    if check:
        made = check_plan(plan, builder=builder, gpus=present)
    else:
        choice = PlanOptions(builder, present[0], precision, size)
        with ProgressLine("building the plan") as bar:
            made = build_plan(model or shipped_onnx(), output, choice, bar.share, data=data)
    click.echo(f"{plan}: {made.model}, {made.precision}, for {made.gpu}")
