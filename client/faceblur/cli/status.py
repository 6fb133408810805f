"""`faceblur status`: a live table of the running cameras."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from typing import Any

import click

from faceblur.detection.triton.loopback import open_url
from faceblur.errors import ServerUnavailableError
from faceblur.live.addresses import split_address
from faceblur.live.config.config import DEFAULT_LISTEN
from faceblur.live.service.status import table

TIMEOUT_S = 5.0
CLEAR = "\033[H\033[2J"


@click.command()
@click.option(
    "--address",
    default=DEFAULT_LISTEN,
    show_default=True,
    metavar="HOST:PORT",
    help="The listen address of the service.",
)
@click.option("--once", is_flag=True, help="Show it once, and exit.")
@click.option("--json", "as_json", is_flag=True, help="Show it once, as JSON.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often the table is refreshed.",
)
def status(*, address: str, once: bool, as_json: bool, every_s: float) -> None:
    """Show how the cameras of a running `faceblur run` are; Ctrl-C ends it."""
    if as_json:
        click.echo(json.dumps(_fetch(address), indent=1))
        return
    while True:
        text = table(_fetch(address), width=shutil.get_terminal_size((200, 24)).columns)
        click.echo(text if once else CLEAR + text)
        if once:
            return
        time.sleep(every_s)


def _fetch(address: str) -> dict[str, Any]:
    split_address(address)
    try:
        request = urllib.request.Request(f"http://{address}/status")
        with open_url(request, timeout_s=TIMEOUT_S) as reply:
            status: dict[str, Any] = json.load(reply)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ServerUnavailableError(
            f"no service answers at {address}; start one with faceblur run CAMERAS.YAML, or name "
            "its listen address with --address"
        ) from error
    return status
