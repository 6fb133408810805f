"""`faceblur run`: many cameras in one process."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import get_args

import click

from faceblur.cli.options import FilePath, bundle, option
from faceblur.live.service.logs import LogFormat, SecretFilter, set_up_logs
from faceblur.live.service.service import Service, obeying_signals


def _guard(log_format: LogFormat, quiet: bool, verbose: bool) -> SecretFilter:
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    return set_up_logs(format_=log_format, level=level)


log_options = bundle(
    "guard",
    _guard,
    option(
        "--log-format",
        type=click.Choice(get_args(LogFormat)),
        default="text",
        help="How the log on stderr is written.",
    ),
    option("-q", "--quiet", is_flag=True, help="Log warnings and errors alone."),
    option("-v", "--verbose", is_flag=True, help="Log everything."),
)


@click.command()
@click.argument("file", type=FilePath, metavar="CAMERAS.YAML")
@log_options
def run(*, file: Path, guard: SecretFilter) -> None:
    """Mask the faces of many cameras, until SIGTERM or Ctrl-C.

    SIGHUP reads the file again and touches only the cameras that changed. Metrics, health and
    status are served at the file's listen address. docs/cameras.yaml shows every setting.
    """
    service = Service(file, guard=guard)
    with obeying_signals(service):
        service.run()
