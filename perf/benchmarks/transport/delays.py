"""How long frames take to a server and back, by transport and link."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.transports import TransportName, encode_jpeg
from harness import (
    Contender,
    family,
    interleave,
    summarise,
)
from rig.slow_link import SlowLink

FPS: Final = 30
TIMEOUT_S: Final = 60.0
LINK_FRAMES: Final = 12
"""Of each transport over each slow link; pixels take long there."""

HERE: Final = "this machine"

Canvas = npt.NDArray[np.uint8]


@dataclass
class Delays:
    """Sends frames one after the other and notes how long each took.

    Attributes:
        detector: What they are sent to.
        canvases: The frames.
        seconds: Of each frame, encoding included.
    """

    detector: TritonDetector
    canvases: Sequence[Canvas]
    seconds: list[float] = field(default_factory=list)

    def __call__(self) -> None:
        """One round."""
        for canvas in self.canvases:
            begun = time.perf_counter()
            self.detector.submit([canvas], min_score=DEFAULT_THRESHOLD)[0].result(TIMEOUT_S)
            self.seconds.append(time.perf_counter() - begun)


@dataclass(frozen=True)
class Carried:
    """One transport over one link.

    Attributes:
        transport: Its name.
        link: What the server was reached by.
        kilobytes: Sent over the network for a frame.
        mbit_per_s: That, of a camera at `FPS`.
        p50_ms: Median delay.
        p99_ms: 99th percentile of the delay.
        cpu_ms: Of client and server together, for a frame; None where it was not measured.
    """

    transport: TransportName
    link: str
    kilobytes: float
    mbit_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float | None


@dataclass(frozen=True)
class Chosen:
    """What `auto` made of a link.

    Attributes:
        link: What the server was reached by.
        transport: What it chose.
        seconds: Until the connection stood, its measuring included.
    """

    link: str
    transport: str
    seconds: float


def carry(server: TritonServer, canvases: list[Canvas], rounds: int) -> list[Carried]:
    """Every transport to a server on this machine, in turns."""
    names: tuple[TransportName, ...] = ("raw", "shm", "jpeg")
    with contextlib.ExitStack() as stack:
        work = {}
        for name in names:
            detector = TritonDetector(Connection(address=server.address, transport=name))
            stack.callback(detector.close)
            work[name] = Delays(detector, canvases)
        contenders = [
            Contender(name, each, lambda: family(server.pid)) for name, each in work.items()
        ]
        samples = interleave(contenders, rounds=rounds)
    cpu = {
        row.contender: row.cpu_ms_per_unit
        for row in summarise(contenders, samples, units=len(canvases))
    }
    # The first round warmed up.
    return [
        _row(name, HERE, canvases, each.seconds[len(canvases) :], cpu[name])
        for name, each in work.items()
    ]


def elsewhere(address: str) -> str:
    """The same address in a form that may stand for several servers: it shares no memory."""
    return f"ipv4:{address}"


def choose(address: str, link: str) -> Chosen:
    """Let `auto` choose."""
    begun = time.perf_counter()
    detector = TritonDetector(Connection(address=address, deadline_s=TIMEOUT_S))
    seconds = time.perf_counter() - begun
    with contextlib.closing(detector):
        return Chosen(link, detector.transport, seconds)


def carry_over_link(
    server: TritonServer, canvases: list[Canvas], mbit_per_s: float
) -> tuple[list[Carried], Chosen]:
    """Pixels and JPEG over a slow network, and which of them `auto` takes."""
    link = SlowLink(server.address, mbit_per_s=mbit_per_s)
    rows = []
    names: tuple[TransportName, ...] = ("raw", "jpeg")
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(link.cut)
        for name in names:
            detector = TritonDetector(
                Connection(address=link.address, transport=name, deadline_s=TIMEOUT_S)
            )
            stack.callback(detector.close)
            Delays(detector, canvases[:1])()
            work = Delays(detector, canvases)
            work()
            rows.append(_row(name, f"{mbit_per_s:g} Mbit/s", canvases, work.seconds, None))
        return rows, choose(elsewhere(link.address), f"{mbit_per_s:g} Mbit/s")


def _row(
    name: TransportName,
    link: str,
    canvases: Sequence[Canvas],
    seconds: Sequence[float],
    cpu_ms: float | None,
) -> Carried:
    kilobytes = float(np.mean([_sent_bytes(name, canvas) for canvas in canvases])) / 1e3
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
    return Carried(name, link, kilobytes, kilobytes * 8e-3 * FPS, float(p50), float(p99), cpu_ms)


def _sent_bytes(name: TransportName, canvas: Canvas) -> int:
    if name == "shm":
        return 0
    return canvas.nbytes if name == "raw" else len(encode_jpeg(canvas))
