"""`faceblur-export repository`: a model repository for a Triton server."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from faceblur.cli.options import SIZE_OPTION, FilePath
from faceblur.cli.progress import ProgressLine
from faceblur.cli.sections import sectioned
from faceblur.errors import InputError
from faceblur_export.cli.options import data_option, or_bundled_option, precision_option
from faceblur_export.extras import needing


@click.command(
    cls=sectioned(
        "Repository",
        "--output --backend --name --jetson --keep-plan",
        {
            "Which model": "--model --or-bundled --weights --onnx --variant",
            "TensorRT plan": "--precision --size --data --help",
        },
    )
)
@click.option(
    "-o", "--output", type=FilePath, required=True, help="The repository; made if need be."
)
@click.option(
    "--backend",
    type=click.Choice(["tensorrt", "onnxruntime", "embedded"]),
    default="tensorrt",
    show_default=True,
)
@click.option("--model", "named_model", help="`bundled`, or official weights that were fetched.")
@or_bundled_option
@click.option("--weights", "checkpoint", type=FilePath, help="A checkpoint to serve.")
@click.option("--onnx", "model", type=FilePath, help="An ONNX file of `faceblur-export onnx`.")
@click.option("--variant", help="Serve the official weights of this variant, such as yolov5s.")
@click.option("--name", help="What the server calls the model.")
@precision_option
@SIZE_OPTION
@data_option
@click.option(
    "--keep-plan",
    is_flag=True,
    help="Renew all files, but keep a plan that fits this model and this machine.",
)
@click.option(
    "--jetson",
    is_flag=True,
    help="Fit it to a Jetson Orin: one instance, and queues that Triton 26.02 survives.",
)
def repository(
    output: Path,
    backend: str,
    named_model: str | None,
    or_bundled: bool,
    checkpoint: Path | None,
    model: Path | None,
    variant: str | None,
    name: str | None,
    precision: str,
    size: int,
    data: Path | None,
    keep_plan: bool,
    jetson: bool,
) -> None:
    """Fill a Triton model repository with a model for a backend.

    The model is the bundled one unless --model, --weights, --onnx or --variant names another. For
    `tensorrt` run this on the GPU that will serve.
    """
    named = click.get_current_context().get_parameter_source("precision")
    if backend != "tensorrt" and named is not ParameterSource.DEFAULT:
        raise InputError(
            f"--precision is that of a TensorRT plan; {backend} serves an ONNX file as it is: "
            "leave it out, or name a file of that precision with --onnx"
        )
    with needing("export"):
        from faceblur_export.choice import chosen
        from faceblur_export.repository import fill_repository, plan_path
        from faceblur_export.tensorrt.builders import find_builder
        from faceblur_export.tensorrt.gpu import gpus
        from faceblur_export.tensorrt.plan import PlanOptions
        from faceblur_export.tensorrt.plan_cache import keep_plan as kept
    plan = None
    with chosen(checkpoint, variant, model, name=named_model, or_bundled=or_bundled) as source:
        if backend == "tensorrt":
            builder, present = find_builder(), gpus()
            plan = PlanOptions(builder, present[0], precision, size)
            if keep_plan:
                plan = kept(plan_path(output), source, plan, gpus=present)
        with ProgressLine("building the plan") as bar:
            info = fill_repository(
                output,
                source,
                name=name,
                size=size,
                plan=plan,
                data=data,
                renew=keep_plan,
                jetson=jetson,
                progress=bar.share,
            )
    click.echo(f"{output} serves {info.name} with {backend}")
