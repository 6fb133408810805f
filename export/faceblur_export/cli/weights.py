"""`faceblur-export weights`: official weights."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from faceblur.cli.options import FilePath
from faceblur.cli.progress import ProgressLine
from faceblur.detection.models import cached_models
from faceblur.detection.repository import SHIPPED
from faceblur.errors import ModelError
from faceblur_export.cli.options import or_bundled_option
from faceblur_export.extras import needing
from faceblur_export.weights.known import KNOWN

logger = logging.getLogger(__name__)


@click.group()
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
