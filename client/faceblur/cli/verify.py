"""`faceblur verify`: check that no face shows in what was masked."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from faceblur.cli.options import (
    FilePath,
    logging_options,
    session_options,
    verified_options,
)
from faceblur.cli.progress import ProgressLine
from faceblur.cli.sections import sectioned
from faceblur.detection.options import DetectionOptions
from faceblur.detection.session import SessionOptions, open_session
from faceblur.errors import FaceblurError
from faceblur.files import check_place
from faceblur.proof.verify.audited import AuditedOutput
from faceblur.proof.verify.report import VerifyReport
from faceblur.proof.verify.sheet import check_sheet, write_sheet
from faceblur.proof.verify.verification import verify as run_verify

ERROR: Final = 2


def _exits_with_2(command: Callable[..., None]) -> Callable[..., None]:
    """Exit with 2 whatever went wrong: 1 says that faces leak."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except FaceblurError as error:
            click.echo(f"faceblur: {error}", err=True)
            sys.exit(ERROR)

    return guarded


@click.command(
    cls=sectioned("What to check", "--source --audit --sheet --strict --threshold --size --tiles")
)
@_exits_with_2
@click.argument("output", type=FilePath)
@click.option("--source", type=FilePath, help="What it was made from: finds far more, and surely.")
@click.option("--audit", type=FilePath, metavar="DIR", help="The audit that was written with it.")
@click.option(
    "--sheet",
    type=FilePath,
    metavar="PNG",
    help="Write crops of the leaks to this file. It shows faces: keep it safe.",
)
@click.option("--json", "json_file", type=FilePath, help="Write all that was found to this file.")
@verified_options
@click.option("--strict", is_flag=True, help="Count doubtful regions as leaks.")
@session_options
@logging_options
def verify(
    *,
    output: Path,
    source: Path | None,
    audit: Path | None,
    sheet: Path | None,
    json_file: Path | None,
    detection: DetectionOptions,
    strict: bool,
    session: SessionOptions,
    quiet: bool,
) -> None:
    """Check that no face shows in OUTPUT, an image or video that was masked.

    With --source, every region that looks like a face in either file must have changed. Without,
    what looks like a face must not have the detail of one; a mask that has detail of its own
    (image, pixelate, sometimes blur) is then reported like a face. What looks like a face, but
    less than it takes to be masked, is counted as doubtful and listed in the JSON file.

    Exits with 0 when no face shows, 1 when one does, and 2 when that could not be found out: a
    file or the audit is not what it should be, frames are missing or too dark or flat to judge, no
    server answers.
    """
    if sheet is not None:
        check_sheet(sheet)
    audited = None if audit is None else AuditedOutput.of(audit, output, source)
    for target in (json_file, sheet):
        if target is not None:
            check_place(target)
    line = ProgressLine(shown=not quiet)
    with open_session(session, size=detection.size) as opened:
        report = run_verify(
            output,
            source=source,
            audit=audited,
            detector=opened.detector,
            how=dataclasses.replace(detection, deadline_s=session.deadline_s),
            in_flight=opened.in_flight,
            keep_images=sheet is not None,
            on_progress=lambda done, total: line.update(output.name, done=done, total=total),
        )
    line.close()
    report = dataclasses.replace(report, strict=strict)
    if json_file is not None:
        report.write(json_file)
    if sheet is not None and report.leak_images:
        write_sheet(sheet, report.leak_images)
    _finish(report, quiet=quiet)


def _finish(report: VerifyReport, *, quiet: bool) -> None:
    for text in report.lines():
        click.echo(text, err=True)
    if not quiet:
        click.echo(report.summary())
    sys.exit(report.exit_code)
