"""What it takes and what it costs to send images as pixels, through shared memory, or as JPEG."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import av
import click
import numpy as np

from benchmarks.transport.accuracy import Accuracy, Coding, accuracy_table, measure_accuracy
from benchmarks.transport.delays import (
    FPS,
    HERE,
    LINK_FRAMES,
    Canvas,
    Carried,
    Chosen,
    carry,
    carry_over_link,
    choose,
    elsewhere,
)
from faceblur.detection import models
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.models import automatic_model
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.detection.triton.transports import JPEG_QUALITY
from faceblur.errors import InputError
from harness import (
    card_lines,
    command_line,
    machine_card,
    markdown,
    page_of,
    write_results,
)

QUALITIES: Final = (60, 75, 85, 90, 95)


@click.command("transport")
@click.argument("video", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option("--model", default=automatic_model("video"), show_default=True)
@click.option(
    "--frames", type=click.IntRange(2), default=40, show_default=True,
    help="Of the video, in one round.",
)  # fmt: skip
@click.option("--rounds", type=click.IntRange(2), default=5, show_default=True)
@click.option(
    "--link", "links", multiple=True, type=click.FloatRange(1, 1e5), default=(100.0, 20.0),
    show_default=True, help="Mbit/s of a simulated network; may be given several times.",
)  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def transport(
    *,
    video: Path,
    folders: tuple[Path, ...],
    model: str,
    frames: int,
    rounds: int,
    links: tuple[float, ...],
    output: Path,
) -> None:
    """Send the frames of VIDEO in every way; and see what JPEG costs in the images of FOLDERS.

    Delays are those of the real server, a frame at a time. Accuracy is that of the same model in
    this process, on canvases that were encoded and decoded as client and server do.
    """
    output.mkdir(parents=True, exist_ok=True)
    onnx, info = models.find(model)
    canvases = list(_canvases(video, frames))
    card = machine_card() | {
        "model": info.name,
        "sha256": info.sha256,
        "size": DEFAULT_SIZE,
        "threshold": DEFAULT_THRESHOLD,
        "video": video.name,
        "model input": " × ".join(map(str, canvases[0].shape[:2])),
        "frames": frames,
        "rounds": rounds,
        "jpeg_quality": JPEG_QUALITY,
    }
    options = ServerOptions(onnx=onnx, model=info)
    with TritonServer(options) as server:
        carried = carry(server, canvases, rounds)
        chosen = [
            choose(server.address, HERE),
            choose(elsewhere(server.address), f"{HERE}, no shared memory"),
        ]
        for link in links:
            rows, choice = carry_over_link(server, canvases[:LINK_FRAMES], link)
            carried += rows
            chosen.append(choice)
    codings = [*map(Coding, QUALITIES), Coding(JPEG_QUALITY, full_colour=False)]
    local = InProcessDetector(onnx, model=info)
    with contextlib.closing(local):
        accuracy = {folder.name: measure_accuracy(local, folder, codings) for folder in folders}
    _write(output, card, carried, chosen, accuracy)


def _canvases(video: Path, frames: int) -> Iterator[Canvas]:
    """Frames that are evenly spread over a video, as the network sees them."""
    try:
        container = av.open(str(video))
    except av.FFmpegError as error:
        raise InputError(f"{video} is no video: {error.strerror}") from error
    with container:
        count = container.streams.video[0].frames
        if count < frames:
            raise click.BadParameter(f"{video.name} does not say that it has {frames} frames")
        wanted = set(np.linspace(0, count - 1, frames).astype(int).tolist())
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                plan = Letterbox.plan(frame.width, frame.height)
                yield plan.apply(frame.to_ndarray(format="rgb24"))


def _write(
    output: Path,
    card: dict[str, object],
    carried: list[Carried],
    chosen: list[Chosen],
    accuracy: dict[str, list[Accuracy]],
) -> None:
    document: dict[str, Any] = {
        "command": command_line(sys.argv),
        "card": card,
        "delays": [asdict(row) for row in carried],
        "auto": [asdict(row) for row in chosen],
        "accuracy": {name: [asdict(row) for row in rows] for name, rows in accuracy.items()},
    }
    parts = [
        "# Ways to send a frame",
        f"`{command_line(sys.argv)}`",
        "A frame at a time, from the model input to its faces, encoding included. CPU is that of "
        f"client and server together. Mbit/s are those of one camera at {FPS} frames a second. "
        f"JPEG has quality {JPEG_QUALITY} and colour at full resolution. The slow links are "
        f"simulated, {LINK_FRAMES} frames each.",
        _delay_table(carried),
        "What `--transport auto` chose, and how long connecting took, measuring included:",
        _choice_table(chosen),
        "Accuracy of the same model inputs as pixels and as JPEG: AP50, precision and recall by "
        "height in the model input (labelled faces in brackets) at the default threshold.",
        *(f"## {name}\n\n{accuracy_table(rows)}" for name, rows in accuracy.items()),
        card_lines(card),
    ]
    write_results(output, "transport", document, page_of(parts))
    click.echo("\n\n".join(parts))


def _choice_table(rows: Sequence[Chosen]) -> str:
    cells = [(row.link, row.transport, f"{row.seconds:.2f}") for row in rows]
    return markdown("link | auto chose | s to connect", cells, left=(0, 1))


def _delay_table(rows: Sequence[Carried]) -> str:
    cells = [
        (
            *(row.link, row.transport, f"{row.kilobytes:.0f}", f"{row.mbit_per_s:.1f}"),
            *(f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}"),
            "-" if row.cpu_ms is None else f"{row.cpu_ms:.1f}",
        )
        for row in rows
    ]
    head = "link | transport | kB a frame | Mbit/s | p50 ms | p99 ms | CPU ms a frame"
    return markdown(head, cells, left=(0, 1))
