"""What it takes and what it costs to send pictures as pixels, through shared memory, or as JPEG."""

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

from benchmarks.transport_accuracy import Accuracy, Coding, accuracy_table, measure_accuracy
from faceblur import models
from faceblur.connection import Connection
from faceblur.defaults import BUNDLED_MODEL, DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.inprocess import InProcessDetector
from faceblur.letterbox import Letterbox
from faceblur.transports import JPEG_QUALITY, TransportName, encode_jpeg
from faceblur.triton import TritonDetector
from faceblur.triton_server import ServerOptions, TritonServer
from harness import Contender, command_line, family, interleave, machine_card, summarise
from rig.slow_link import SlowLink

QUALITIES: Final = (60, 75, 85, 90, 95)
FPS: Final = 30
TIMEOUT_S: Final = 60.0
LINK_FRAMES: Final = 12
"""Of each transport over each slow link; pixels take long there."""

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
            self.detector.submit(canvas, min_score=DEFAULT_THRESHOLD).result(TIMEOUT_S)
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


@click.command("transport")
@click.argument("video", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
@click.option("--frames", default=40, show_default=True, help="Of the video, in one round.")
@click.option("--rounds", default=5, show_default=True)
@click.option(
    "--link", "links", multiple=True, type=float, default=(100.0, 20.0), show_default=True,
    help="Mbit/s of a simulated network; may be given several times.",
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
    """Send the frames of VIDEO in every way; and see what JPEG costs in the pictures of FOLDERS.

    Delays are those of the real server, a frame at a time. Accuracy is that of the same model in
    this process, on canvases that were encoded and decoded as client and server do.
    """
    onnx, info = models.find(model)
    canvases = list(_canvases(video, frames))
    card = machine_card() | {
        "model": info.name,
        "sha256": info.sha256,
        "size": DEFAULT_SIZE,
        "threshold": DEFAULT_THRESHOLD,
        "video": video.name,
        "canvas": " × ".join(map(str, canvases[0].shape[:2])),
        "frames": frames,
        "rounds": rounds,
        "jpeg_quality": JPEG_QUALITY,
    }
    options = ServerOptions(onnx=onnx, model=info)
    with TritonServer(options) as server:
        carried = _carried(server, canvases, rounds)
        for link in links:
            carried += _over_link(server, canvases[:LINK_FRAMES], link)
    codings = [*map(Coding, QUALITIES), Coding(JPEG_QUALITY, full_colour=False)]
    local = InProcessDetector(onnx, model=info)
    with contextlib.closing(local):
        accuracy = {folder.name: measure_accuracy(local, folder, codings) for folder in folders}
    _write(output, card, carried, accuracy)


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
        _row(name, "this machine", canvases, each.seconds[len(canvases) :], cpu[name])
        for name, each in work.items()
    ]


def _over_link(server: TritonServer, canvases: list[Canvas], mbit_per_s: float) -> list[Carried]:
    """Pixels and JPEG over a slow network."""
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
    return rows


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
    with av.open(str(video)) as container:
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
    accuracy: dict[str, list[Accuracy]],
) -> None:
    output.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "command": command_line(sys.argv),
        "card": card,
        "delays": [asdict(row) for row in carried],
        "accuracy": {name: [asdict(row) for row in rows] for name, rows in accuracy.items()},
    }
    (output / "transport.json").write_text(json.dumps(document, indent=1) + "\n")
    parts = [
        "# How pictures travel",
        f"`{command_line(sys.argv)}`",
        "A frame at a time, from the canvas to its faces, encoding included. CPU is that of client "
        f"and server together. Mbit/s are those of one camera at {FPS} frames a second. JPEG has "
        f"quality {JPEG_QUALITY} and colour at full resolution. The slow links are simulated, "
        f"{LINK_FRAMES} frames each.",
        _delay_table(carried),
        "Accuracy of the same canvases as pixels and as JPEG: AP50, precision and recall by height "
        "on the canvas (labelled faces in brackets) at the default threshold.",
        *(f"## {name}\n\n{accuracy_table(rows)}" for name, rows in accuracy.items()),
        "\n".join(f"- {key}: {value}" for key, value in card.items()),
    ]
    (output / "transport.md").write_text("\n\n".join(parts) + "\n")
    click.echo("\n\n".join(parts))


def _delay_table(rows: Sequence[Carried]) -> str:
    lines = [
        "| link | transport | kB a frame | Mbit/s | p50 ms | p99 ms | CPU ms a frame |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cpu = "-" if row.cpu_ms is None else f"{row.cpu_ms:.1f}"
        lines.append(
            f"| {row.link} | {row.transport} | {row.kilobytes:.0f} | {row.mbit_per_s:.1f} "
            f"| {row.p50_ms:.1f} | {row.p99_ms:.1f} | {cpu} |"
        )
    return "\n".join(lines)
