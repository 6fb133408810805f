"""Commands of `faceblur-train` that keep the model card true."""

from __future__ import annotations

from pathlib import Path

import click

from faceblur.cli.options import FilePath
from faceblur.detection.repository import BUNDLED_MODEL, SHIPPED, shipped_onnx
from faceblur.errors import InputError
from faceblur_export.evaluation.report import write_json
from faceblur_training.model_card.card import card_of, check_card, write_card
from faceblur_training.model_card.record import Measurement, read_record, record_of

name_option = click.option(
    "--name",
    type=click.Choice(list(SHIPPED)),
    default=BUNDLED_MODEL,
    show_default=True,
    help="Which of the models that come with faceblur.",
)
record_option = click.option(
    "--record", type=FilePath, help="Record of the model. [the committed one]"
)


@click.command("model-card")
@click.option("--check", is_flag=True, help="Write nothing; fail when something is out of date.")
@click.option("--root", type=FilePath, default=Path(), help="Folder of the checkout. [this folder]")
@record_option
def model_card(*, check: bool, root: Path, record: Path | None) -> None:
    """Write the cards of the bundled models, docs/model-card*.md, from their records."""
    if not (root / "pyproject.toml").is_file():
        raise InputError("run this in a checkout of faceblur, or name it with --root")
    paths = [record] if record else [record_of(name) for name in SHIPPED]
    for path in paths:
        content = read_record(path)
        if check:
            check_card(content, root)
            click.echo(f"{card_of(content['measured']['name'])} is up to date")
            continue
        for written in write_card(content, root):
            click.echo(f"wrote {written}")


@click.command("measure-bundled")
@name_option
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
@click.option("--damage", type=FilePath, help="What `faceblur-train damage --json` wrote.")
@record_option
def measure_bundled(
    *,
    name: str,
    data: Path,
    official: str,
    official_name: str,
    held_out_of: Path,
    ceiling: Path | None,
    damage: Path | None,
    record: Path | None,
) -> None:
    """Measure a bundled model and write every figure into its record."""
    measurement = Measurement(
        name=name,
        model=shipped_onnx(name),
        data=data,
        other=official,
        other_name=official_name,
        held_out_of=held_out_of,
        ceiling=ceiling,
        damage=damage,
    )
    path = record or record_of(name)
    write_json(path, measurement.fill(read_record(path)))
    click.echo(f"wrote {path}; now run: faceblur-train model-card")
