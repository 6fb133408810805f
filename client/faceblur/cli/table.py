"""What happened to each file of a batch, for a person to read."""

from __future__ import annotations

from collections.abc import Sequence

import click

from faceblur.batch.runner import Outcome
from faceblur.redaction import printable

_TITLES = ("file", "faces", "frames", "seconds", "outcome")


def show_table(outcomes: Sequence[Outcome]) -> None:
    """Print one line for each file. Why one failed was said when it did."""
    rows = [_row(outcome) for outcome in outcomes]
    widths = [max(map(len, column)) for column in zip(_TITLES, *rows, strict=True)]
    for row in (_TITLES, *rows):
        name, *numbers, what = row
        cells = [name.ljust(widths[0])]
        cells += [text.rjust(width) for text, width in zip(numbers, widths[1:], strict=False)]
        click.echo("  ".join([*cells, what]))


def _row(outcome: Outcome) -> tuple[str, ...]:
    name, seconds = printable(outcome.job.source), f"{outcome.elapsed_s:.1f}"
    if outcome.error is not None:
        return name, "-", "-", seconds, "failed"
    what = "masked" if outcome.finished is None else "skipped, was finished"
    return name, str(outcome.faces), str(outcome.frames), seconds, what
