"""`faceblur doctor`: what is installed and reachable, and what to do next."""

from __future__ import annotations

import sys

import click

from faceblur.cli.options import tls_options
from faceblur.clitools import configure_logging
from faceblur.connection import TLS
from faceblur.diagnosis import diagnose, probe

MARKS = {True: "ok  ", False: "BAD ", None: "    "}


@click.command()
@click.option("--server", metavar="HOST:PORT", help="A Triton server to ask.")
@tls_options
@click.option(
    "-q",
    "--quiet",
    is_flag=True,
    help="Only send the check picture to the server; say nothing unless its face is not found.",
)
def doctor(*, server: str | None, tls: TLS | None, quiet: bool) -> None:
    """Say what is installed, reachable and missing, and what to do next.

    Exits with 0 when `faceblur blur` would work now; with --quiet, when the server does.
    """
    configure_logging(verbose=False, quiet=True)
    if quiet:
        probe(server, tls)
        return
    finding = None
    for finding in diagnose(server=server, tls=tls):
        click.echo(f"{MARKS[finding.good]}{finding.topic}: {finding.text}")
        if finding.advice:
            click.echo(f"      → {finding.advice}")
    if finding is None or not finding.good:
        sys.exit(6)
