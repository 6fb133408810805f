"""Do cameras that run for long hold on to memory, file descriptors or threads?"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from benchmarks.cameras.clips import write_clip
from benchmarks.processes import resources
from faceblur.detection.session import SessionOptions
from faceblur.detection.triton.ports import free_port
from faceblur.live.camera import Camera
from faceblur.live.detector import ReconnectingDetector
from faceblur.live.options import CameraOptions
from faceblur.live.service.fleet import Fleet
from faceblur.live.sinks.options import parse_sink
from faceblur.live.sources.options import SourceOptions, parse_source
from harness import (
    card_lines,
    command_line,
    machine_card,
    markdown,
    page_of,
    verdict,
    write_results,
)

EVERY_S: Final = 2.0
CHANGE_S: Final = 20.0
"""How often one camera is changed, as SIGHUP does."""

ALLOWED: Final = {"own_memory_mb": 0.05, "memory_mb": 0.08, "own_fds": 0.0, "own_threads": 0.0}
"""By how much the last third may lie above the middle one, as a part of it."""


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def soak(*, minutes: float, output: Path) -> None:
    """Cameras that loop, lose their source for ever and are changed, for minutes."""
    card = machine_card() | {"minutes": minutes}
    samples: list[dict[str, float]] = []
    changes = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clip = write_clip(folder / "clip.mp4", fps=5, frames=25)
        detector = stack.enter_context(ReconnectingDetector(SessionOptions()))
        if not detector.wait(120):
            raise click.ClickException(f"no detector: {detector.failure}")
        fleet = Fleet(detector, open_camera=Camera)
        stack.callback(fleet.stop, timeout_s=10.0)
        options = _cameras(clip, folder)
        fleet.apply(options)
        started_s = changed_s = time.monotonic()
        while (now_s := time.monotonic()) - started_s < minutes * 60:
            time.sleep(EVERY_S)
            fleet.look()
            if now_s - changed_s > CHANGE_S:
                changed_s, changes = now_s, changes + 1
                options[-1] = replace(options[-1], lookahead=changes % 3)
                fleet.apply(options)
            samples.append({"time_s": now_s - started_s, **resources()})
        figures = [stats for stats in fleet.stats()]
    reconnects = sum(stats.reconnects for stats in figures)
    checked = sum(stats.frames_checked for stats in figures)
    card |= {"changes": changes, "reconnects": reconnects, "frames_checked": checked}
    _write(output, card, samples)


def _cameras(clip: Path, folder: Path) -> list[CameraOptions]:
    looped = SourceOptions(kind="file", url=str(clip), loop=True)
    gone = parse_source(f"rtsp://127.0.0.1:{free_port('127.0.0.1')}/gone")
    rolling = replace(
        parse_sink(f"segments:{folder / 'recordings'}?segment=2"), keep_bytes=2_000_000
    )
    mjpeg = parse_sink(f"mjpeg:{free_port('127.0.0.1')}")
    return [
        CameraOptions(name="looped", source=looped, sinks=(rolling, mjpeg), deadline_s=2.0),
        CameraOptions(name="gone", source=gone, sinks=(parse_sink("null"),)),
        CameraOptions(name="hls", source=looped, sinks=(parse_sink(f"hls:{folder / 'hls'}"),)),
        CameraOptions(name="changed", source=looped, sinks=(parse_sink("null"),)),
    ]


def _write(output: Path, card: dict[str, object], samples: Sequence[dict[str, float]]) -> None:
    third = len(samples) // 3
    # Children come and go; what stays is the middle of many samples.
    middle, last = samples[third : 2 * third], samples[2 * third :]
    rows, flat = [], True
    for name in (*ALLOWED, "fds", "threads", "processes"):
        early = statistics.median(sample[name] for sample in middle)
        late = statistics.median(sample[name] for sample in last)
        growth = (late - early) / early
        within = growth <= ALLOWED.get(name, float("inf"))
        flat &= within
        limit = f"{ALLOWED[name]:.0%}" if name in ALLOWED else "-"
        rows.append((name, f"{early:.1f}", f"{late:.1f}", f"{growth:+.1%}", limit))
    parts = [
        "# soak",
        f"`{command_line(sys.argv)}`",
        f"Target, {verdict(flat)}: memory, file descriptors and threads are flat "
        "while one camera is changed again and again, one never finds its source, and two loop a "
        "clip. `own_` is the process that drives them; the rest is all processes, the server's "
        "included. Medians of the second and the last third.",
        markdown(" | second third | last third | growth | allowed", rows),
        card_lines(card),
    ]
    document = {"command": command_line(sys.argv), "card": card, "samples": list(samples)}
    write_results(output, "soak", document, page_of(parts))
    click.echo("\n\n".join(parts))
    if not flat:
        sys.exit(1)
