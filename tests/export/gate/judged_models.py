"""What tests of the accuracy gate share: commands, copies and records of models."""

from __future__ import annotations

import shutil
from pathlib import Path

from click.testing import CliRunner, Result

from faceblur_export import cli
from faceblur_export.gate import gate
from faceblur_export.gate.record import Loss
from faceblur_export.tensorrt.gpu import Gpu

A10 = Gpu("NVIDIA A10", "8.6")
LOSS = Loss("AP50", 100, 0.8, 0.795, 0.01, -0.02, 0.01, passed=True)


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words])


def copied(model: Path, folder: Path) -> Path:
    """The same model where there is no record beside it."""
    return Path(shutil.copy(model, folder / model.name))


def gate_record_of(model: Path) -> gate.GateRecord:
    from faceblur.files import file_sha256

    return gate.GateRecord("x", file_sha256(model), "int8", "0" * 64, "x", 9, 640, 0.2, (LOSS,))
