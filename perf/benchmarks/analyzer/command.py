"""Loads by perf_analyzer: concurrency × transport × topology × model × size, with real frames."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from benchmarks.analyzer.bench import Plan, Run
from benchmarks.analyzer.frames import canvases, read_frames, write_inputs
from benchmarks.analyzer.report import write_run
from benchmarks.analyzer.server import TOPOLOGIES, Inputs
from benchmarks.analyzer.tool import PerfAnalyzer
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.detection.triton.runtime import MIN_INSTANCES, server_share
from faceblur.errors import FaceblurError
from faceblur.files import cache_folder
from harness import command_line, machine_card


def _numbers(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(word) for word in value.split(",") if word)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no list of whole numbers, as 1,2,4") from error
    if any(number < 1 for number in numbers):
        raise click.BadParameter("each number must be 1 or more")
    return numbers


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--size", type=click.IntRange(64, 4096), default=DEFAULT_SIZE, show_default=True)
@click.option(
    "--stride",
    type=click.IntRange(32, 64),
    default=32,
    show_default=True,
    help="Of the model; 64 for P6 models.",
)
@click.option("--frames", type=click.IntRange(1, 1000), default=24, show_default=True)
@click.option("--min-score", default=DEFAULT_THRESHOLD, show_default=True)
@click.option(
    "--kind",
    type=click.Choice(["scored", "images", "jpeg"]),
    default="scored",
    show_default=True,
    help="Inputs of face_detection, of yolov5_face, of face_detection_jpeg.",
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="JSON file.")
def inputs(
    *,
    sources: tuple[Path, ...],
    size: int,
    stride: int,
    frames: int,
    min_score: float,
    kind: Inputs,
    output: Path,
) -> None:
    """Write frames of SOURCES (images and videos) for perf_analyzer's --input-data."""
    try:
        images = canvases(read_frames(sources, frames=frames), size=size, stride=stride)
    except FaceblurError as error:
        raise click.ClickException(str(error)) from error
    write_inputs(output, images, inputs=kind, min_score=min_score)
    height, width = images[0].shape[:2]
    click.echo(f"{output}: {len(images)} images of {height} × {width}")


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--server", help="HOST:PORT of a server; an embedded one is started if left out.")
@click.option("--model", "names", multiple=True, default=(BUNDLED_MODEL,), show_default=True)
@click.option("--size", "sizes", callback=_numbers, default=f"{DEFAULT_SIZE}", show_default=True)
@click.option("--concurrency", callback=_numbers, default="1,2,4,8,16", show_default=True)
@click.option(
    "--transport",
    "transports",
    multiple=True,
    type=click.Choice(["raw", "shm", "jpeg"]),
    default=("raw", "shm"),
    show_default=True,
)
@click.option(
    "--topology",
    "topologies",
    multiple=True,
    type=click.Choice(list(TOPOLOGIES)),
    help="Default: all on an embedded server; ensemble and detector alone on another.",
)
@click.option("--batch", "batches", callback=_numbers, default="1,4", show_default=True)
@click.option("--cameras", callback=_numbers, default="1,2,4,8", show_default=True)
@click.option(
    "--fps",
    type=click.FloatRange(0.1, 1000),
    default=15.0,
    show_default=True,
    help="Of each camera.",
)
@click.option(
    "--window-ms",
    type=click.IntRange(min=100),
    default=1000,
    show_default=True,
    help="Three for each load.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="The median counts.",
)
@click.option(
    "--instances",
    type=click.IntRange(MIN_INSTANCES, 64),
    default=server_share()[0],
    help="Of an embedded server.",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), default=server_share()[1], help="CPU threads of each."
)
@click.option("--precision", help="Of the model on a server that is not embedded, for the card.")
@click.option("--machine", help="What a server that is not embedded runs on, for the card.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results/analyzer"))
def analyzer(
    *,
    sources: tuple[Path, ...],
    server: str | None,
    names: tuple[str, ...],
    instances: int,
    threads: int,
    precision: str | None,
    machine: str | None,
    output: Path,
    **choices: Any,
) -> None:
    """Measure a server with perf_analyzer, on frames of SOURCES (images and videos).

    Writes OUTPUT.json, OUTPUT.md and the plots OUTPUT-*.png.
    """
    topologies = choices["topologies"] or (
        ("ensemble", "detector alone") if server else tuple(TOPOLOGIES)
    )
    plan = Plan(**{**choices, "topologies": topologies})
    # What cannot be written is found out before minutes of measuring.
    output.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    try:
        tool = PerfAnalyzer.find(cache_folder())
        frames = read_frames(sources, frames=24)
        card = machine_card() | {"perf_analyzer": tool.version()}
        run = Run(plan, tool, frames)
        if server:
            card |= run.remote(server) | _given(precision=precision, machine=machine)
        for name in () if server else names:
            card |= run.embedded(name, instances=instances, threads=threads)
    except FaceblurError as error:
        raise click.ClickException(str(error)) from error
    if not run.points:
        raise click.ClickException(f"nothing was measured: {' '.join(run.notes)}")
    card |= {"seconds": round(time.monotonic() - start)}
    write_run(output, points=run.points, card=card, command=command_line(sys.argv), notes=run.notes)
    click.echo(output.with_suffix(".md").read_text())


def _given(**facts: str | None) -> dict[str, object]:
    return {key: value or "not given" for key, value in facts.items()}
