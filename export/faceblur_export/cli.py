"""The `faceblur-export` command.

Longer than other modules, for it declares the options of all its commands.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from faceblur.cli.base import FaceblurGroup
from faceblur.cli.options import SIZE_OPTION, FilePath
from faceblur.cli.progress import ProgressLine
from faceblur.cli.sections import sectioned
from faceblur.detection.gpu.precision import record_path as gpu_record_path
from faceblur.detection.models import cached_models
from faceblur.detection.repository import SHIPPED, shipped_onnx
from faceblur.detection.runtimes import record_path as bfloat16_record_path
from faceblur.errors import InputError, ModelError
from faceblur_export.extras import needing
from faceblur_export.weights.known import KNOWN

if TYPE_CHECKING:
    from faceblur_export.onnx import Precision

logger = logging.getLogger(__name__)

precision_option = click.option(
    "--precision",
    type=click.Choice(["fp16", "fp32", "int8"]),
    default="fp16",
    show_default=True,
    help="Of the plan. FP16 is made of an FP32 model; INT8 needs an INT8 model that passed "
    "`faceblur-export gate`.",
)
data_option = click.option(
    "--data",
    type=FilePath,
    help="Labelled images to hold FP16 or INT8 against FP32 by, before it goes in.",
)


or_bundled_option = click.option(
    "--or-bundled",
    is_flag=True,
    help="Where the official weights cannot be had, warn and go on with the bundled model.",
)


@click.group(cls=FaceblurGroup)
@click.version_option(package_name="faceblur-triton", prog_name="faceblur-export")
def main() -> None:
    """Bring YOLOv5-face models to ONNX, TensorRT and Triton."""


@main.group()
def weights() -> None:
    """Official weights: fetch them, see what is here."""


@weights.command("list")
def list_weights() -> None:
    """List the official weights and what of them is on this machine."""
    there = cached_models()
    for name, known in KNOWN.items():
        click.echo(f"{name:18} {known.licence:14} {there.get(name, 'not here')}")


@weights.command()
@click.argument("name")
@click.option(
    "--from", "source", type=FilePath, help="Take it from this file, not from the network."
)
@or_bundled_option
def pull(name: str, source: Path | None, or_bundled: bool) -> None:
    """Fetch the official weights NAME, check them, and make a model of them.

    Afterwards `faceblur blur --model NAME` uses it. A fetch that was cut off goes on where it
    stopped. With --or-bundled NAME may be `bundled`, which needs none.
    """
    if or_bundled and name in SHIPPED:
        return
    with needing("export"):
        from faceblur_export.pull import pull as pull_weights
    try:
        with ProgressLine(f"fetching {name}") as bar:
            model = pull_weights(name, source=source, progress=bar.share)
    except ModelError as error:
        if not or_bundled or name not in KNOWN:
            raise
        logger.warning("%s; the bundled model takes its place", error)
        return
    click.echo(f"{model.name} is ready: {model.path}")


@main.command()
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


@main.command()
@click.argument("candidate", type=FilePath)
@click.option("--data", type=FilePath, required=True, help="Folder of labelled images.")
@click.option(
    "--reference",
    type=FilePath,
    help="The same weights in FP32  [default: the bundled or fetched model that has them]",
)
@click.option(
    "--openvino",
    is_flag=True,
    help="Judge CANDIDATE as OpenVINO runs it on a CPU, in bfloat16.",
)
@click.option(
    "--cuda",
    type=click.Choice(["fp16", "tf32"]),
    help="Judge CANDIDATE in this precision, as CUDA runs it on this machine's GPU.",
)
@SIZE_OPTION
@click.option(
    "--json", "json_path", type=FilePath, help="The record  [default: CANDIDATE.gate.json]"
)
def gate(
    candidate: Path,
    data: Path,
    reference: Path | None,
    openvino: bool,
    cuda: Literal["fp16", "tf32"] | None,
    size: int,
    json_path: Path | None,
) -> None:
    """Refuse a model of lower precision that finds fewer faces than the same one in FP32.

    It may lose one AP50 point, and in each bin of face heights one face in a hundred, or one face;
    no loss may be certain by the paired bootstrap. The record lies beside CANDIDATE, where
    `repository` and `tensorrt` look for it. With --openvino CANDIDATE is an FP32
    file, `bundled` or `fast`, is held against ONNX Runtime, and every `faceblur` command looks for
    the record. So it is with --cuda; for fp16 its form in FP16 is made first, beside it.
    Exit code 5 when it is refused.
    """
    with needing("export"):
        from faceblur_export.gate.gate import judge, judge_bfloat16, judge_on_gpu
        from faceblur_export.gate.record import record_path, write_record
    if reference is not None and (openvino or cuda):
        raise InputError("--openvino and --cuda hold a file against itself; leave out --reference")
    if openvino and cuda:
        raise InputError("--openvino is for a CPU and --cuda for a GPU; give one")
    if str(candidate) in SHIPPED:
        candidate = shipped_onnx(str(candidate))
    with ProgressLine("judging") as bar:
        if cuda:
            candidate, record = judge_on_gpu(candidate, data, cuda, size=size, progress=bar.items)
        elif openvino:
            record = judge_bfloat16(candidate, data, size=size, progress=bar.items)
        else:
            record = judge(candidate, data, reference=reference, size=size, progress=bar.items)
    for loss in record.losses:
        click.echo(str(loss))
    usual = gpu_record_path if cuda else bfloat16_record_path if openvino else record_path
    write_record(json_path or usual(candidate), record)
    record.raise_if_refused(candidate)


@main.command()
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


@main.command(
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
