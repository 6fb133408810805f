"""Cameras and files on one server: how much later cameras are answered while files flood it."""

from __future__ import annotations

import contextlib
import statistics
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.analyzer.frames import Canvas, read_frames
from benchmarks.cameras.in_step import measure
from faceblur.detection import models
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.detection.repository import FAST_MODEL
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection, Priority
from faceblur.detection.triton.runtime import MIN_INSTANCES
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import FaceblurError
from harness import card_lines, command_line, machine_card, markdown, page_of, write_results

IN_FLIGHT: Final = 4
"""Requests that a file has under way, as `faceblur blur` has."""

DEADLINE_S: Final = 30.0
"""Long enough for those who wait behind a flood to be counted, not refused."""

FRAMES: Final = 4
"""Frames in each of them."""


@dataclass(frozen=True)
class Round:
    """Cameras for some seconds.

    Attributes:
        contender: Who else sent, and with which priority.
        sent: Frames of the cameras.
        refused: Those that were not answered with faces.
        p50_ms: Median of the cameras' delays, milliseconds.
        p99_ms: Their 99th percentile.
        files_per_s: Frames of files that were answered meanwhile, a second.
    """

    contender: str
    sent: int
    refused: int
    p50_ms: float
    p99_ms: float
    files_per_s: float


@dataclass(frozen=True)
class Flood:
    """How files send.

    Attributes:
        urgency: Whether before cameras or after them.
        is_shared: One frame a request.
    """

    urgency: Priority
    is_shared: bool


CONTENDERS: Final[dict[str, Flood | None]] = {
    "cameras alone": None,
    "and files after them": Flood("batch", True),
    "and files after them, four frames a request": Flood("batch", False),
    "and files as urgent (for comparison)": Flood("live", False),
}


CAMERA: Final = Flood("live", True)


@click.command(name="priority")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--model", default=FAST_MODEL, show_default=True)
@click.option("--cameras", default=2, show_default=True)
@click.option("--fps", default=5.0, show_default=True, help="Of each camera.")
@click.option("--files", default=4, show_default=True, help="That are masked at a time.")
@click.option("--seconds", default=10.0, show_default=True, help="Of one round.")
@click.option("--rounds", default=3, show_default=True, help="The median counts.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def priority(
    *,
    source: Path,
    model: str,
    cameras: int,
    fps: float,
    files: int,
    seconds: float,
    rounds: int,
    output: Path,
) -> None:
    """Send a frame of SOURCE from cameras at a steady pace, and from files as fast as they can."""
    try:
        onnx, info = models.find(model)
        frame = read_frames([source], frames=1)[0]
    except FaceblurError as error:
        raise click.ClickException(str(error)) from error
    canvas = Letterbox.plan(*frame.shape[1::-1], stride=info.stride).apply(frame)
    card = machine_card() | {
        "model": info.name,
        "shape": "×".join(map(str, canvas.shape[:2])),
        "cameras": cameras,
        "fps": fps,
        "files": f"{files}, each with {IN_FLIGHT} requests of {FRAMES} frames under way",
        "seconds": seconds,
        "rounds": rounds,
        "server": f"embedded, {MIN_INSTANCES} instances of 1 thread",
    }
    options = ServerOptions(
        onnx=onnx, model=info, instances=MIN_INSTANCES, threads=1, jpeg=False, warm_up=False
    )
    done: list[Round] = []
    with TritonServer(options) as server:
        connect = partial(_connected, server)
        for number in range(rounds):
            for name, flood in list(CONTENDERS.items())[:: -1 if number % 2 else 1]:
                with connect(CAMERA) as live, _flooding(connect, flood, canvas, files) as answered:
                    sending = partial(_send, live)
                    row = measure(name, sending, [canvas] * cameras, fps=fps, seconds=seconds)
                    done.append(
                        Round(
                            *(name, row.sent, row.refused, row.p50_ms, row.p99_ms),
                            len(answered) * FRAMES / seconds,
                        )
                    )
    rows = [summarise([each for each in done if each.contender == name]) for name in CONTENDERS]
    _save(output, rows, done, card, period_ms=1e3 / fps)
    click.echo(table(rows, period_ms=1e3 / fps))


@contextlib.contextmanager
def _connected(server: TritonServer, flood: Flood) -> Iterator[TritonDetector]:
    detector = TritonDetector(
        Connection(
            address=server.address,
            deadline_s=DEADLINE_S,
            transport="raw",
            token=server.token,
            priority=flood.urgency,
            is_shared=flood.is_shared,
        )
    )
    try:
        yield detector
    finally:
        detector.close()


def _send(detector: TritonDetector, canvas: Canvas) -> Future[Any]:
    return detector.submit([canvas], min_score=DEFAULT_THRESHOLD)[0]


@contextlib.contextmanager
def _flooding(
    connect: Any, flood: Flood | None, canvas: Canvas, files: int
) -> Iterator[list[None]]:
    """Files that are masked meanwhile; gives an entry for each request of theirs answered."""
    answered: list[None] = []
    if flood is None:
        yield answered
        return
    stop = threading.Event()

    def mask(detector: TritonDetector) -> None:
        room = threading.Semaphore(IN_FLIGHT)

        def taken(done: Future[Any]) -> None:
            if done.exception() is None:
                answered.append(None)
            room.release()

        while not stop.is_set():
            room.acquire()
            futures = detector.submit([canvas] * FRAMES, min_score=DEFAULT_THRESHOLD)
            futures[-1].add_done_callback(taken)
        for _ in range(IN_FLIGHT):
            room.acquire()

    with contextlib.ExitStack() as stack:
        threads = [
            threading.Thread(target=mask, args=(stack.enter_context(connect(flood)),))
            for _ in range(files)
        ]
        for thread in threads:
            thread.start()
        try:
            yield answered
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def summarise(rounds: Sequence[Round]) -> Round:
    """All requests of a contender, and the medians of its rounds."""
    return Round(
        rounds[0].contender,
        sum(each.sent for each in rounds),
        sum(each.refused for each in rounds),
        *(
            statistics.median(getattr(each, name) for each in rounds)
            for name in ("p50_ms", "p99_ms", "files_per_s")
        ),
    )


def added_periods(row: Round, alone: Round, *, period_ms: float) -> float:
    """By how many frame periods of a camera the 99th percentile is later than without files."""
    return (row.p99_ms - alone.p99_ms) / period_ms


def table(rows: Sequence[Round], *, period_ms: float) -> str:
    """The rows as a Markdown table; the first is of cameras alone."""
    head = (
        "on one server | cameras' frames | refused | p50 ms | p99 ms | frame periods on top of p99 "
        "| files' frames/s"
    )
    cells = [
        (
            *(row.contender, row.sent, row.refused, f"{row.p50_ms:.0f}", f"{row.p99_ms:.0f}"),
            f"{added_periods(row, rows[0], period_ms=period_ms):.2f}",
            f"{row.files_per_s:.1f}",
        )
        for row in rows
    ]
    return markdown(head, cells) + "\n"


def _save(
    folder: Path, rows: Sequence[Round], rounds: Sequence[Round], card: Any, *, period_ms: float
) -> None:
    command = command_line(sys.argv)
    document = {
        "command": command,
        "card": card,
        "rows": [
            asdict(row) | {"added_periods": added_periods(row, rows[0], period_ms=period_ms)}
            for row in rows
        ],
        "rounds": [asdict(each) for each in rounds],
    }
    facts = card_lines(card)
    parts = ["# priority", f"`{command}`", table(rows, period_ms=period_ms), facts]
    write_results(folder, "priority", document, page_of(parts))
