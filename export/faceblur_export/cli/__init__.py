"""The `faceblur-export` command."""

from __future__ import annotations

import click

from faceblur.cli.base import FaceblurGroup
from faceblur_export.cli import gate, onnx, repository, tensorrt, weights


@click.group(cls=FaceblurGroup)
@click.version_option(package_name="faceblur-triton", prog_name="faceblur-export")
def main() -> None:
    """Bring YOLOv5-face models to ONNX, TensorRT and Triton."""


for command in (weights.weights, onnx.onnx, gate.gate, tensorrt.tensorrt, repository.repository):
    main.add_command(command)
