"""What it takes and what it costs to send images as pixels, through shared memory, or as JPEG."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import av
import click
import numpy as np
import numpy.typing as npt

from benchmarks.transport.accuracy import Accuracy, Coding, accuracy_table, measure_accuracy
from faceblur.detection import models
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.detection.triton.transports import JPEG_QUALITY, TransportName, encode_jpeg
from faceblur.errors import InputError
from harness import (
    Contender,
    command_line,
    family,
    interleave,
    machine_card,
    markdown,
    summarise,
)
from rig.slow_link import SlowLink

QUALITIES: Final = (60, 75, 85, 90, 95)
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


@click.command("transport")
@click.argument("video", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
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
        carried = _carried(server, canvases, rounds)
        chosen = [
            _chosen(server.address, HERE),
            _chosen(_elsewhere(server.address), f"{HERE}, no shared memory"),
        ]
        for link in links:
            rows, choice = _over_link(server, canvases[:LINK_FRAMES], link)
            carried += rows
            chosen.append(choice)
    codings = [*map(Coding, QUALITIES), Coding(JPEG_QUALITY, full_colour=False)]
    local = InProcessDetector(onnx, model=info)
    with contextlib.closing(local):
        accuracy = {folder.name: measure_accuracy(local, folder, codings) for folder in folders}
    _write(output, card, carried, chosen, accuracy)


def _carried(server: TritonServer, canvases: list[Canvas], rounds: int) -> list[Carried]:
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


def _elsewhere(address: str) -> str:
    """The same address in a form that may stand for several servers: it shares no memory."""
    return f"ipv4:{address}"


def _chosen(address: str, link: str) -> Chosen:
    """Let `auto` choose."""
    begun = time.perf_counter()
    detector = TritonDetector(Connection(address=address, deadline_s=TIMEOUT_S))
    seconds = time.perf_counter() - begun
    with contextlib.closing(detector):
        return Chosen(link, detector.transport, seconds)


def _over_link(
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
        return rows, _chosen(_elsewhere(link.address), f"{mbit_per_s:g} Mbit/s")


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
    (output / "transport.json").write_text(json.dumps(document, indent=1) + "\n")
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
        "\n".join(f"- {key}: {value}" for key, value in card.items()),
    ]
    (output / "transport.md").write_text("\n\n".join(parts) + "\n")
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
