"""`faceblur status`: a live table of the running cameras."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from typing import Any, Final

import click

from faceblur.cli.options import option
from faceblur.cli.table import table
from faceblur.live.config.config import DEFAULT_LISTEN
from faceblur.live.service.control import service_status

CLEAR = "\033[H\033[2J"


@click.command()
@option(
    "--address",
    default=DEFAULT_LISTEN,
    metavar="HOST:PORT",
    help="The listen address of the service.",
)
@option("--once", is_flag=True, help="Show it once, and exit.")
@option("--json", "as_json", is_flag=True, help="Show it once, as JSON.")
@option(
    "--every",
    "every_s",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    metavar="SECONDS",
    help="How often the table is refreshed.",
)
def status(*, address: str, once: bool, as_json: bool, every_s: float) -> None:
    """Show how the cameras of a running `faceblur run` are; Ctrl-C ends it."""
    if as_json:
        click.echo(json.dumps(service_status(address), indent=1))
        return
    while True:
        text = overview(service_status(address), width=shutil.get_terminal_size((200, 24)).columns)
        click.echo(text if once else CLEAR + text)
        if once:
            return
        time.sleep(every_s)


_TITLES: Final = (
    "camera", "state", "size", "view", "fps", "in", "out", "masked", "faces", "dropped", "held",
    "p50 ms", "p99 ms", "ahead ms", "sinks", "last error",
)  # fmt: skip
_LEFT: Final = {"camera", "state", "size", "view", "sinks", "last error"}


def overview(status: Mapping[str, Any], *, width: int = 160) -> str:
    """What `ServiceStatus.to_json` gives as text, a line of at most `width` for each camera."""
    rows = [_row(camera) for camera in status["cameras"]]
    failure = status["detector_failure"]
    running = sum(camera["state"] == "running" for camera in status["cameras"])
    head = [
        f"{running} of {len(rows)} cameras running · up {_span(status['uptime_s'])} · "
        f"{status['detector']}{': ' + failure if failure else ''}"
    ]
    if status["reload_error"]:
        head.append(f"the changed file was not taken: {' '.join(status['reload_error'].split())}")
    return "\n".join(line[:width].rstrip() for line in [*head, *table(_TITLES, rows, left=_LEFT)])


def _row(camera: Mapping[str, Any]) -> tuple[str, ...]:
    delay, sinks = camera["delay"], camera["sinks"]
    running = sum(sink["state"] == "running" for sink in sinks)
    errors = [camera["last_error"]] if camera["state"] != "running" else []
    errors += [sink["last_error"] for sink in sinks if sink["state"] != "running"]
    return (
        camera["name"],
        camera["state"],
        f"{camera['width']}x{camera['height']}" if camera["width"] else "-",
        camera.get("view") or "-",
        f"{camera['fps']:.1f}",
        str(camera["frames_in"]),
        str(camera["frames_out"]),
        str(camera["frames_masked"]),
        str(camera["faces"]),
        str(camera["frames_dropped"]),
        str(camera["frames_held"]),
        _milliseconds(delay["p50_s"]),
        _milliseconds(delay["p99_s"]),
        _milliseconds(camera.get("lookahead_s")),
        f"{running}/{len(sinks)}",
        " ".join(next((error for error in errors if error), "").split()),
    )


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.0f}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
