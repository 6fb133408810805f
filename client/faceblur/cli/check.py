"""`faceblur check`: is a file of cameras right, and would it work?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from faceblur.cli.options import FilePath, option
from faceblur.cli.run import log_options
from faceblur.live.config.config import load_config
from faceblur.live.options import CameraOptions
from faceblur.live.service.logs import SecretFilter
from faceblur.live.service.probe import DEADLINE_S, ProbeResult, probe

MARKS = {True: "ok ", False: "BAD"}


@click.command()
@click.argument("file", type=FilePath, metavar="CAMERAS.YAML")
@option("--probe/--no-probe", "probes", default=True, help="Try sources, sinks and server.")
@option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(0, min_open=True),
    default=DEADLINE_S,
    metavar="SECONDS",
    help="How long each may take to answer.",
)
@log_options
def check(*, file: Path, probes: bool, deadline_s: float, guard: SecretFilter) -> None:
    """Validate a file of cameras, and try each source, sink and server without starting.

    Settings that are allowed but probably not meant are warnings; they do not change the exit code.

    Exits with 0 if all is well, 3 if the file or a source or sink cannot be used, 6 if the
    server does not find the face of its check image.
    """
    config = load_config(file)
    guard.know(config.secrets)
    number = len(config.cameras)
    warned = len(config.warnings)
    but = f", {warned} warning{'s' * (warned != 1)}:" if warned else ""
    click.echo(f"{file}: {number} camera{'s' * (number != 1)}, no mistakes{but}")
    for warning in config.warnings:
        click.echo(guard.scrub(warning))
    for camera in config.cameras:
        if camera.policy.moving.is_on:
            learn_s = camera.policy.moving.hold_s
            click.echo(
                guard.scrub(
                    f"{camera.name}: what moves is masked; the whole frame is, for the first "
                    f"{learn_s:g} s and after each jump of the view or of the light"
                )
            )
    for line in _delays(config.cameras):
        click.echo(guard.scrub(line))
    if not probes:
        return
    width = max(map(len, ("server", *(camera.name for camera in config.cameras))))
    findings = []
    for finding in probe(config, deadline_s=deadline_s):
        findings.append(finding)
        click.echo(guard.scrub(_line(finding, width)))
    if bad := [finding for finding in findings if not finding.good]:
        sys.exit(6 if all(finding.part == "server" for finding in bad) else 3)


def _delays(cameras: Sequence[CameraOptions]) -> Iterator[str]:
    """What cameras do about the first moment of a face, and what it costs in time."""
    names: dict[str, list[str]] = {}
    for camera in cameras:
        names.setdefault(_delay(camera), []).append(camera.name)
    for text, group in names.items():
        yield f"{', '.join(group)}: {text}"


def _delay(camera: CameraOptions) -> str:
    if not camera.lookahead:
        return "no look-ahead, so whoever comes into sight shows until they are first detected"
    fps = camera.fps or camera.source.fps
    if camera.source.kind == "snapshot":
        fps = 1 / camera.source.interval_s
    most = f"{camera.cover.ahead_s:g} s at most"
    seconds = f"{camera.lookahead_s(fps):.2g} s at {fps:.3g} fps" if fps else most
    return f"look-ahead of {camera.lookahead} frames, a delay of {seconds}"


def _line(finding: ProbeResult, width: int) -> str:
    name = (finding.camera or "server").ljust(width)
    part = "" if finding.part == "server" else f"{finding.part} "
    return f"{MARKS[finding.good]} {name}  {part}{finding.label}: {finding.text}"
