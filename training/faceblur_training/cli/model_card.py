"""Commands of `faceblur-train` that keep the model card true."""

from __future__ import annotations

from pathlib import Path

import click

from faceblur.cli.options import FilePath
from faceblur.detection.repository import shipped_onnx
from faceblur.errors import InputError
from faceblur_export.evaluation.report import write_json
from faceblur_training.model_card.card import CARD, check_card, write_card
from faceblur_training.model_card.record import RECORD, Measurement, read_record

record_option = click.option(
    "--record",
    type=FilePath,
    default=RECORD,
    help="Record of the bundled model. [the committed one]",
)


@click.command("model-card")
@click.option("--check", is_flag=True, help="Write nothing; fail when something is out of date.")
@click.option("--root", type=FilePath, default=Path(), help="Folder of the checkout. [this folder]")
@record_option
def model_card(*, check: bool, root: Path, record: Path) -> None:
    """Write docs/model-card.md and its images from the record of the bundled model."""
    if not (root / "pyproject.toml").is_file():
        raise InputError("run this in a checkout of faceblur, or name it with --root")
    if check:
        check_card(read_record(record), root)
        click.echo(f"{CARD} is up to date")
        return
    for path in write_card(read_record(record), root):
        click.echo(f"wrote {path}")


@click.command("measure-bundled")
@click.option("--data", type=FilePath, required=True, help="Holds the folders the record names.")
@click.option("--official", required=True, help="Official model to measure beside.")
@click.option("--official-name", default="yolov5n-0.5", show_default=True, help="What it is.")
@click.option(
    "--held-out-of",
    type=FilePath,
    required=True,
    help="Labelled training images; the threshold follows from those that are held out.",
)
@click.option("--ceiling", type=FilePath, help="Video of a camera that looks straight down.")
@record_option
def measure_bundled(
    *,
    data: Path,
    official: str,
    official_name: str,
    held_out_of: Path,
    ceiling: Path | None,
    record: Path,
) -> None:
    """Measure the bundled model and write every figure into its record."""
    measurement = Measurement(
        model=shipped_onnx(),
        data=data,
        other=official,
        other_name=official_name,
        held_out_of=held_out_of,
        ceiling=ceiling,
    )
    write_json(record, measurement.fill(read_record(record)))
    click.echo(f"wrote {record}; now run: faceblur-train model-card")
