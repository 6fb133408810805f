"""`faceblur test`: see that it works, with a webcam and a window."""

from __future__ import annotations

import sys
from typing import Any

import click

from faceblur.cli.camera import running
from faceblur.cli.live_options import live_options, live_policy_options, live_session_options
from faceblur.cli.options import logging_options, option
from faceblur.cli.sections import sectioned
from faceblur.detection.session import SessionOptions, open_session
from faceblur.errors import InputError, OutputError
from faceblur.live.camera import Camera
from faceblur.live.options import CameraOptions
from faceblur.live.service.open_files import make_room
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sources.options import parse_source
from faceblur.live.stats import CameraStats
from faceblur.masks.policy import Policy

TICK_S = 0.1


@click.command(cls=sectioned("The test", "--source --frames --headless"))
@option("--source", default="0", help="As of faceblur camera.")
@option("--frames", type=click.IntRange(1), metavar="N", help="End after so many frames.")
@option("--headless", is_flag=True, help="Open no window; only count and time.")
@live_policy_options
@live_options
@live_session_options
@logging_options
def test(
    *,
    source: str,
    frames: int | None,
    headless: bool,
    policy: Policy,
    live: dict[str, Any],
    session: SessionOptions,
    quiet: bool,
) -> None:
    """Show the webcam in a window with faces masked, and how fast that is; q quits."""
    options = CameraOptions(
        name="test",
        source=parse_source(source),
        sinks=(SinkOptions(kind="null" if headless else "window"),),
        policy=policy,
        deadline_s=session.deadline_s,
        **live,
    )
    make_room([options])
    with (
        open_session(session, size=policy.detection.size, media="camera") as opened,
        running(options, opened.detector, quiet=quiet) as camera,
    ):
        _watch(camera, frames, shown=not quiet and sys.stderr.isatty())


def _watch(camera: Camera, frames: int | None, *, shown: bool) -> None:
    """Wait for the end, and raise why the source or the window does not open."""
    while not camera.wait(TICK_S):
        stats = camera.stats()
        if shown:
            click.echo(f"\r{_line(stats):<60}", nl=False, err=True)
        if frames is not None and stats.frames_checked >= frames:
            break
        if stats.state == "offline" and not stats.frames_in:
            raise InputError(stats.last_error)
        if stats.sinks[0].state == "waiting":
            raise OutputError(stats.sinks[0].last_error)
    if shown:
        click.echo(err=True)


def _line(stats: CameraStats) -> str:
    delay = f", {1000 * stats.delay.p50_s:.0f} ms" if stats.delay.count else ""
    return f"{stats.state}: {stats.fps:.1f} fps{delay}, {stats.faces} masks"
