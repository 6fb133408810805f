"""A load generator of our own, for machines without perf_analyzer: several processes over gRPC.

Each sends as the product's client does, several requests under way. Where a pace is given, latency
counts from the moment at which a request was due: one that waits for its sender is late, too.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.analyzer.tool import WINDOWS, AnalyzerError, Load, Reading
from benchmarks.serving.clients import TopologyClient
from faceblur.detection.cores import usable_cores

MAX_PROCESSES: Final = 6
"""Beyond it they take the server's cores."""

_READY_S: Final = 60.0
_ROOM: Final = 64
"""Requests under way of one process, at most, where a pace is given."""


class OwnGenerator:
    """Measures loads with processes of this program; used like `PerfAnalyzer`.

    Args:
        canvases: NumPy file of model inputs (N, H, W, 3), sent again and again.
    """

    def __init__(self, canvases: Path) -> None:
        self._canvases = canvases

    def version(self) -> str:
        """What it says of itself."""
        return "none: the benchmark's own asynchronous gRPC clients, in several processes"

    def measure(self, load: Load) -> Reading:
        """Put one load on a server.

        Raises:
            AnalyzerError: Nothing was answered, or a request failed.
        """
        context = multiprocessing.get_context("spawn")
        pipes, processes = [], []
        try:
            for share in _shares(load):
                ours, theirs = context.Pipe()
                process = context.Process(target=work, args=(theirs, self._canvases, share))
                process.start()
                theirs.close()
                pipes.append(ours)
                processes.append(process)
            for pipe in pipes:
                _receive(pipe)
            start = time.time() + 0.1
            seconds = WINDOWS * load.window_ms / 1e3
            for pipe in pipes:
                pipe.send((start, start + seconds))
            answered = [_receive(pipe) for pipe in pipes]
        finally:
            for process in processes:
                process.join(5)
                if process.is_alive():
                    process.kill()
        return reading(np.concatenate(answered), start=start, seconds=seconds, batch=load.batch)


def reading(
    answers: npt.NDArray[np.float64], *, start: float, seconds: float, batch: int
) -> Reading:
    """What came of answers: rows of the time of each, and its latency in seconds.

    Raises:
        AnalyzerError: There are none.
    """
    inside = answers[(answers[:, 0] >= start) & (answers[:, 0] < start + seconds)]
    if not len(inside):
        raise AnalyzerError("no request was answered in time; is the server overloaded?")
    counts, _ = np.histogram(inside[:, 0], bins=WINDOWS, range=(start, start + seconds))
    cuts = np.percentile(inside[:, 1] * 1e3, [50, 90, 95, 99])
    return Reading(
        len(inside) * batch / seconds,
        *(float(cut) for cut in cuts),
        windows=tuple(float(count) * batch * WINDOWS / seconds for count in counts),
    )


@dataclass(frozen=True)
class Share:
    """The part of a load that one process sends: see `Load`; `offset_s` is its first request's."""

    address: str
    model: str
    batch: int
    concurrency: int
    rate: float
    offset_s: float


def _shares(load: Load) -> list[Share]:
    most = max(1, min(MAX_PROCESSES, usable_cores() // 2))
    if load.concurrency:
        count = min(most, load.concurrency)
        each = [load.concurrency // count + (n < load.concurrency % count) for n in range(count)]
        return [Share(load.address, load.model, load.batch, n, 0.0, 0.0) for n in each]
    whole = Share(load.address, load.model, load.batch, 0, load.rate / most, 0.0)
    return [replace(whole, offset_s=number / load.rate) for number in range(most)]


def work(pipe: Pipe, canvases: Path, share: Share) -> None:
    """One process: connect, say so, be told from when to when, send, and report."""
    images = np.load(canvases, mmap_mode="r")
    client = TopologyClient(share.address, share.model, batch=share.batch)
    try:
        sender = _Sender(client, images, share)
        for future in [sender.send(time.time()) for _ in range(2)]:
            future.result(_READY_S)
        pipe.send(np.empty((0, 2)))
        pipe.send(sender.run(*pipe.recv()))
    except Exception as error:  # noqa: BLE001  the parent says what it was
        pipe.send(str(error))
    finally:
        client.close()


class _Sender:
    def __init__(self, client: TopologyClient, images: Any, share: Share) -> None:
        self._client = client
        self._share = share
        self._images = [np.ascontiguousarray(image) for image in images]
        self._room = threading.Semaphore(share.concurrency or _ROOM)
        self._answers: list[tuple[float, float]] = []
        self._error: BaseException | None = None
        self._next = 0

    def send(self, due: float) -> Future[Any]:
        self._room.acquire()
        count = len(self._images)
        chosen = [self._images[(self._next + n) % count] for n in range(self._share.batch)]
        self._next += self._share.batch
        future = self._client.send(chosen)

        def answered(done: Future[Any]) -> None:
            now = time.time()
            self._error = self._error or done.exception()
            self._answers.append((now, now - due))
            self._room.release()

        future.add_done_callback(answered)
        return future

    def run(self, start: float, end: float) -> npt.NDArray[np.float64]:
        """Send until the end; the time and latency of each answer.

        A closed load starts at once, so that it is under way when the measurement begins.
        """
        self._answers.clear()
        sent, due = 0, start + self._share.offset_s
        last: Future[Any] | None = None
        while (now := time.time()) < end and self._error is None:
            if self._share.rate:
                time.sleep(max(0.0, due - now))
                last = self.send(due)
                sent += 1
                due = start + self._share.offset_s + sent / self._share.rate
            else:
                last = self.send(now)
        if last is not None:
            last.result(_READY_S)
        if self._error is not None:
            raise self._error
        return np.array(list(self._answers)).reshape(-1, 2)


def _receive(pipe: Pipe) -> npt.NDArray[np.float64]:
    if not pipe.poll(_READY_S + 30):
        raise AnalyzerError("a client of the benchmark did not answer")
    try:
        message = pipe.recv()
    except EOFError as error:
        raise AnalyzerError("a client of the benchmark died") from error
    if isinstance(message, str):
        raise AnalyzerError(f"a request failed: {message}")
    return np.asarray(message)
