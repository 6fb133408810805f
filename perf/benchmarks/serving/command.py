"""What the server costs: the same model and post-processing with and without it."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.analyzer.frames import Canvas, canvases, read_frames
from benchmarks.analyzer.server import TOPOLOGIES, topology_server
from benchmarks.serving.clients import TopologyClient
from faceblur.batch.video_detection import BATCH
from faceblur.detection import models
from faceblur.detection.detector import Detector
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.models import automatic_model
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection, Transport
from faceblur.detection.triton.runtime import MIN_INSTANCES
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.detections import Detections
from faceblur.errors import FaceblurError
from harness import Contender, family, interleave, machine_card, save, summarise, table

IN_FLIGHT = 4
"""Requests under way; of several images, three."""


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--model", default=automatic_model("video"), show_default=True)
@click.option("--size", default=DEFAULT_SIZE, show_default=True)
@click.option(
    "--instances",
    type=click.IntRange(MIN_INSTANCES, 64),
    default=2,
    show_default=True,
    help="Inferences at the same time.",
)
@click.option("--threads", default=1, show_default=True, help="CPU threads of each.")
@click.option("--frames", default=400, show_default=True, help="In one round.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def serving(
    *,
    sources: tuple[Path, ...],
    model: str,
    size: int,
    instances: int,
    threads: int,
    frames: int,
    rounds: int,
    output: Path,
) -> None:
    """ONNX Runtime and the same post-processing in one process, against the embedded server.

    SOURCES are images and videos. The server runs the ensemble, asked as cameras do (an image
    a request) and as files do (several), and other ways to divide the work; all find the same
    faces, or nothing is measured.
    """
    frames -= frames % BATCH
    try:
        onnx, info = models.find(model)
        images = canvases(read_frames(sources, frames=24), size=size, stride=info.stride)
    except FaceblurError as error:
        raise click.ClickException(str(error)) from error
    card = machine_card() | {
        "model": info.name,
        "sha256": info.sha256,
        "model input": "×".join(map(str, images[0].shape[:2])),
        "instances": instances,
        "threads": threads,
        "in_flight": IN_FLIGHT,
        "frames": frames,
        "rounds": rounds,
    }
    with contextlib.ExitStack() as stack:
        options = ServerOptions(onnx=onnx, model=info, instances=instances, threads=threads)
        server = stack.enter_context(topology_server(options))
        local = InProcessDetector(onnx, instances=instances, threads=threads)
        work: dict[str, _Work] = {"in process": _Work(_asking(local), images, frames)}
        stack.callback(local.close)
        names: dict[Transport, str] = {"raw": "gRPC", "shm": "shared memory"}
        for transport, name in names.items():
            remote = TritonDetector(Connection(address=server.address, transport=transport))
            stack.callback(remote.close)
            for batch in (1, BATCH):
                title = f"ensemble over {name}" + (f", {batch} a request" if batch > 1 else "")
                work[title] = _Work(_asking(remote), images, frames, batch=batch)
        for name, topology in TOPOLOGIES.items():
            if name != "ensemble":
                client = TopologyClient(server.address, topology.model)
                stack.callback(client.close)
                work[name] = _Work(client.send, images, frames)
        check_same_faces(work)
        contenders = [
            Contender(name, each, (lambda: family(server.pid)) if index else list)
            for index, (name, each) in enumerate(work.items())
        ]
        samples = interleave(contenders, rounds=rounds)
    rows = summarise(contenders, samples, units=frames)
    save(output, "serving", rows=rows, samples=samples, card=card, unit="frames")
    click.echo(table(rows, unit="frames"))


Send = Callable[[list[Canvas]], Any]


class _Work:
    """Sends frames, a few requests under way."""

    def __init__(self, send: Send, images: list[Canvas], frames: int, *, batch: int = 1) -> None:
        self._send = send
        self._images = images
        self._frames = frames
        self._batch = batch
        self._room = IN_FLIGHT if batch == 1 else 3

    def __call__(self) -> None:
        self.faces(self._frames)

    def faces(self, frames: int) -> list[Detections]:
        """What was found on the first frames."""
        waiting: deque[Future[list[Detections]]] = deque()
        found: list[Detections] = []
        for start in range(0, frames, self._batch):
            if len(waiting) == self._room:
                found += waiting.popleft().result(30)
            numbers = range(start, start + self._batch)
            waiting.append(self._send([self._images[n % len(self._images)] for n in numbers]))
        for future in waiting:
            found += future.result(30)
        return found[:frames]


def check_same_faces(work: dict[str, _Work], *, frames: int = 2 * BATCH) -> None:
    """Refuse to compare contenders that do not find the same faces.

    Raises:
        click.ClickException: One finds others than the first.
    """
    wanted, *others = ((name, each.faces(frames)) for name, each in work.items())
    for name, found in others:
        for one, other in zip(wanted[1], found, strict=True):
            if one.rows().shape != other.rows().shape or not np.allclose(
                one.rows(), other.rows(), atol=0.01
            ):
                raise click.ClickException(f"{name} finds other faces than {wanted[0]}")


def _asking(detector: Detector) -> Send:
    def send(images: list[Canvas]) -> Future[list[Detections]]:
        answers = detector.submit(images, min_score=DEFAULT_THRESHOLD)
        listed: Future[list[Detections]] = Future()

        def answered(_: Future[Detections]) -> None:
            # Those of a request are answered in order, all at once.
            try:
                listed.set_result([answer.result(0) for answer in answers])
            except FaceblurError as error:
                listed.set_exception(error)

        answers[-1].add_done_callback(answered)
        return listed

    return send
