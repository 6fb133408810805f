"""`faceblur-export gate`: whether a model of lower precision finds as much."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from faceblur.cli.options import SIZE_OPTION, FilePath
from faceblur.cli.progress import ProgressLine
from faceblur.detection.gpu.precision import record_path as gpu_record_path
from faceblur.detection.repository import SHIPPED, shipped_onnx
from faceblur.detection.runtimes import record_path as bfloat16_record_path
from faceblur.errors import InputError
from faceblur_export.extras import needing


@click.command()
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
