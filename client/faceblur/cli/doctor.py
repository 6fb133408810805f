"""`faceblur doctor`: what is installed and reachable, and what to do next."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from faceblur.cli.options import FilePath, tls_from
from faceblur.clitools import configure_logging
from faceblur.diagnosis import diagnose

MARKS = {True: "ok  ", False: "BAD ", None: "    "}


@click.command()
@click.option("--server", metavar="HOST:PORT", help="A Triton server to ask.")
@click.option("--tls", is_flag=True, help="Encrypt the connection to --server.")
@click.option("--tls-ca", type=FilePath, help="PEM file of the server's authority.")
@click.option("--tls-cert", type=FilePath, help="PEM file of this client's certificate.")
@click.option("--tls-key", type=FilePath, help="PEM file of its private key.")
def doctor(
    *,
    server: str | None,
    tls: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Say what is installed, reachable and missing, and what to do next.

    Exits with 0 when `faceblur blur` would work now.
    """
    configure_logging(verbose=False, quiet=True)
    finding = None
    encryption = tls_from(tls=tls, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key)
    for finding in diagnose(server=server, tls=encryption):
        click.echo(f"{MARKS[finding.good]}{finding.topic}: {finding.text}")
        if finding.advice:
            click.echo(f"      → {finding.advice}")
    if finding is None or not finding.good:
        sys.exit(6)
