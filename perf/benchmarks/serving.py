"""What the server costs: the same model and post-processing with and without it."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import Future
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt

from faceblur import models
from faceblur.connection import Connection
from faceblur.defaults import BUNDLED_MODEL, DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detections import Detections
from faceblur.detector import Detector
from faceblur.inprocess import InProcessDetector
from faceblur.letterbox import Letterbox
from faceblur.triton import TritonDetector
from faceblur.triton_server import ServerOptions, TritonServer
from harness import Contender, family, interleave, machine_card, save, summarise, table

IN_FLIGHT = 4


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
@click.option("--size", default=DEFAULT_SIZE, show_default=True)
@click.option("--instances", default=2, show_default=True, help="Inferences at the same time.")
@click.option("--threads", default=1, show_default=True, help="CPU threads of each.")
@click.option("--frames", default=200, show_default=True, help="In one round.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def serving(
    *,
    pictures: tuple[Path, ...],
    model: str,
    size: int,
    instances: int,
    threads: int,
    frames: int,
    rounds: int,
    output: Path,
) -> None:
    """ONNX Runtime and the same post-processing in one process, against the embedded ensemble."""
    canvases = _canvases(pictures, size)
    onnx, info = models.find(model)
    card = machine_card() | {
        "model": info.name,
        "sha256": info.sha256,
        "size": size,
        "instances": instances,
        "threads": threads,
        "in_flight": IN_FLIGHT,
        "frames": frames,
        "rounds": rounds,
    }
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            TritonServer(ServerOptions(onnx=onnx, model=info, instances=instances, threads=threads))
        )
        local = InProcessDetector(onnx, instances=instances, threads=threads)
        stack.callback(local.close)
        contenders = [Contender("in process", _Work(local, canvases, frames))]
        for transport in ("raw", "shm"):
            remote = TritonDetector(Connection(address=server.address, transport=transport))
            stack.callback(remote.close)
            contenders.append(
                Contender(
                    f"ensemble over {'gRPC' if transport == 'raw' else 'shared memory'}",
                    _Work(remote, canvases, frames),
                    lambda: family(server.pid),
                )
            )
        samples = interleave(contenders, rounds=rounds)
    rows = summarise(contenders, samples, units=frames)
    save(output, "serving", rows=rows, samples=samples, card=card, unit="frames")
    click.echo(table(rows, unit="frames"))


class _Work:
    """Sends frames, a few in flight."""

    def __init__(
        self, detector: Detector, canvases: list[npt.NDArray[np.uint8]], frames: int
    ) -> None:
        self._detector = detector
        self._canvases = canvases
        self._frames = frames

    def __call__(self) -> None:
        waiting: deque[Future[Detections]] = deque()
        for index in range(self._frames):
            if len(waiting) == IN_FLIGHT:
                waiting.popleft().result(30)
            canvas = self._canvases[index % len(self._canvases)]
            waiting.append(self._detector.submit(canvas, min_score=DEFAULT_THRESHOLD))
        for future in waiting:
            future.result(30)


def _canvases(pictures: tuple[Path, ...], size: int) -> list[npt.NDArray[np.uint8]]:
    canvases = []
    for path in pictures:
        picture = cv2.imread(str(path))
        if picture is None:
            raise click.BadParameter(f"{path} is not a picture")
        plan = Letterbox.plan(picture.shape[1], picture.shape[0], size=size)
        canvases.append(plan.apply(np.ascontiguousarray(picture[:, :, ::-1])))
    return canvases
