"""Cameras that send at the same moment: what is refused, and how late the answers come."""

from __future__ import annotations

import contextlib
import math
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.analyzer.frames import Canvas, read_frames
from benchmarks.analyzer.server import ONE_CONSUMER, TWO_MODELS, one_consumer_server
from benchmarks.serving.clients import TopologyClient
from faceblur.detection import models
from faceblur.detection.letterbox import canonical_shapes
from faceblur.detection.models import automatic_model
from faceblur.detection.triton.client import ENSEMBLE
from faceblur.detection.triton.runtime import MIN_INSTANCES
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import FaceblurError
from harness import card_lines, command_line, machine_card, markdown, page_of, write_results

SETTLE_S: Final = 1.0
"""Between two contenders: what the last one left in the queues is gone."""

BOUND: Final = 3.0
"""The 99th percentile may be this many times the median."""

Send = Callable[[Canvas], Future[Any]]


@dataclass(frozen=True)
class Round:
    """One contender for some seconds.

    Attributes:
        contender: Its name.
        sent: Requests.
        refused: Those that were not answered with faces.
        p50_ms: Median of the delays of all, milliseconds.
        p99_ms: Their 99th percentile.
    """

    contender: str
    sent: int
    refused: int
    p50_ms: float
    p99_ms: float


@click.command(name="in-step")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--server", help="host:port of a running server, in place of those started here.")
@click.option("--model", default=automatic_model("camera"), show_default=True)
@click.option("--cameras", default=4, show_default=True, help="Each of another shape.")
@click.option("--fps", default=5.0, show_default=True, help="Of each camera.")
@click.option("--seconds", default=20.0, show_default=True, help="Of one round.")
@click.option("--rounds", default=5, show_default=True, help="The median counts.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def in_step(
    *,
    source: Path,
    server: str | None,
    model: str,
    cameras: int,
    fps: float,
    seconds: float,
    rounds: int,
    output: Path,
) -> None:
    """Send a frame of SOURCE from every camera at the same moment, again and again.

    Without --server: to the detector as `faceblur serve` runs it, to the detector and the
    post-processing as two models, and to a detector with a single instance, which no configuration
    has (docs/triton-stall.md).
    """
    try:
        onnx, info = models.find(model)
        frame = read_frames([source], frames=1)[0]
    except FaceblurError as error:
        raise click.ClickException(str(error)) from error
    shapes = canonical_shapes(stride=info.stride)
    images = [_fitted(frame, shapes[number % len(shapes)]) for number in range(cameras)]
    card = machine_card() | {
        "model": info.name,
        "sha256": info.sha256,
        "shapes": ", ".join("×".join(map(str, p.shape[:2])) for p in images),
        "cameras": cameras,
        "fps": fps,
        "seconds": seconds,
        "rounds": rounds,
        "server": server or f"embedded, {MIN_INSTANCES} instances of 1 thread",
    }
    with contextlib.ExitStack() as stack:
        contenders = {server: ENSEMBLE} if server else _CONTENDERS
        address = server
        if address is None:
            options = ServerOptions(onnx=onnx, model=info, instances=MIN_INSTANCES, threads=1)
            address = stack.enter_context(one_consumer_server(options)).address
        sends = {}
        for name, asked in contenders.items():
            client = TopologyClient(address, asked)
            stack.callback(client.close)
            sends[name] = _sending(client)
        done = []
        for number in range(rounds):
            for name, send in list(sends.items())[:: -1 if number % 2 else 1]:
                done.append(measure(name, send, images, fps=fps, seconds=seconds))
                time.sleep(SETTLE_S)
    rows = [summarise([each for each in done if each.contender == name]) for name in sends]
    _save(output, rows, done, card)
    click.echo(table(rows))


_CONTENDERS: Final = {
    "as served": ENSEMBLE,
    "detector and post-processing as two models": TWO_MODELS,
    "one instance (for comparison)": ONE_CONSUMER,
}


def measure(
    name: str, send: Send, images: Sequence[Canvas], *, fps: float, seconds: float
) -> Round:
    """Send all images at once, `fps` times a second; count every delay, also of what is refused.

    Args:
        name: Of the contender.
        send: Asks for the faces on an image.
        images: One of each camera.
        fps: Frames a second of each camera.
        seconds: How long.
    """
    ticks = max(1, round(seconds * fps))
    delays_ms: list[float] = []
    refused: list[BaseException] = []
    finished = threading.Semaphore(0)

    def watch(future: Future[Any], due: float) -> None:
        def answered(done: Future[Any]) -> None:
            delays_ms.append((time.perf_counter() - due) * 1e3)
            if error := done.exception():
                refused.append(error)
            finished.release()

        future.add_done_callback(answered)

    for image in images:
        send(image).result()
    start = time.perf_counter()
    for tick in range(ticks):
        due = start + tick / fps
        time.sleep(max(0.0, due - time.perf_counter()))
        for image in images:
            watch(send(image), due)
    for _ in range(ticks * len(images)):
        finished.acquire()
    return Round(
        name,
        len(delays_ms),
        len(refused),
        float(np.percentile(delays_ms, 50)),
        float(np.percentile(delays_ms, 99)),
    )


def summarise(rounds: Sequence[Round]) -> Round:
    """All requests of a contender, and the medians of its rounds' percentiles."""
    return Round(
        rounds[0].contender,
        sum(each.sent for each in rounds),
        sum(each.refused for each in rounds),
        statistics.median(each.p50_ms for each in rounds),
        statistics.median(each.p99_ms for each in rounds),
    )


def holds(row: Round) -> bool:
    """Whether nothing was refused and nothing came far later than usual."""
    return not row.refused and row.p99_ms <= BOUND * row.p50_ms


def table(rows: Sequence[Round]) -> str:
    """The rows as a Markdown table."""
    head = "contender | requests | refused | p50 ms | p99 ms | none refused, p99 ≤ 3 × p50"
    cells = [
        (
            *(row.contender, row.sent, row.refused, f"{row.p50_ms:.1f}", f"{row.p99_ms:.1f}"),
            "yes" if holds(row) else "no",
        )
        for row in rows
    ]
    return markdown(head, cells, left=(0, 5)) + "\n"


def _save(folder: Path, rows: Sequence[Round], rounds: Sequence[Round], card: Any) -> None:
    command = command_line(sys.argv)
    document = {
        "command": command,
        "card": card,
        "rows": [asdict(row) | {"holds": holds(row)} for row in rows],
        "rounds": [asdict(each) for each in rounds],
    }
    facts = card_lines(card)
    parts = ["# in-step", f"`{command}`", table(rows), facts]
    write_results(folder, "in-step", document, page_of(parts))


def _fitted(frame: Canvas, shape: tuple[int, int]) -> Canvas:
    """The frame, repeated and cut to a shape: what is on it does not matter."""
    repeats = [math.ceil(side / have) for side, have in zip(shape, frame.shape[:2], strict=True)]
    tiled = np.tile(frame, (*repeats, 1))
    return np.ascontiguousarray(tiled[: shape[0], : shape[1]])


def _sending(client: TopologyClient) -> Send:
    return lambda image: client.send([image])
