"""`faceblur doctor`: what is installed and reachable, and what to do next."""

from __future__ import annotations

import sys

import click

from faceblur.cli.options import tls_options
from faceblur.clitools import configure_logging
from faceblur.connection import TLS
from faceblur.diagnosis import diagnose

MARKS = {True: "ok  ", False: "BAD ", None: "    "}


@click.command()
@click.option("--server", metavar="HOST:PORT", help="A Triton server to ask.")
@tls_options
def doctor(*, server: str | None, tls: TLS | None) -> None:
    """Say what is installed, reachable and missing, and what to do next.

    Exits with 0 when `faceblur blur` would work now.
    """
    configure_logging(verbose=False, quiet=True)
    finding = None
    for finding in diagnose(server=server, tls=tls):
        click.echo(f"{MARKS[finding.good]}{finding.topic}: {finding.text}")
        if finding.advice:
            click.echo(f"      → {finding.advice}")
    if finding is None or not finding.good:
        sys.exit(6)
