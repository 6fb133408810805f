"""Loads by perf_analyzer: concurrency × transport × topology × model × size, with real frames."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.analyzer.frames import Canvas, canvases, read_frames, write_inputs
from benchmarks.analyzer.points import (
    IN_PROCESS,
    Case,
    Meter,
    Point,
    measure_in_process,
    open_client,
)
from benchmarks.analyzer.report import write_run
from benchmarks.analyzer.server import JPEG, TOPOLOGIES, Inputs, Topology, served, topology_server
from benchmarks.analyzer.tool import AnalyzerError, Load, PerfAnalyzer
from faceblur.detection import decoding as postprocess
from faceblur.detection import models
from faceblur.detection.detector import ModelInfo
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.models import INPUT, OUTPUTS, open_onnx
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.detection.triton.client import DETECTOR, TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.runtime import MIN_INSTANCES, server_share
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import FaceblurError
from harness import command_line, family, machine_card

MEMORY: Final = {"raw": "none", "shm": "system", "jpeg": "none"}


def _numbers(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(word) for word in value.split(",") if word)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no list of whole numbers, as 1,2,4") from error
    if any(number < 1 for number in numbers):
        raise click.BadParameter("each number must be 1 or more")
    return numbers


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure on one server.

    Attributes:
        concurrency: Requests under way.
        transports: How images travel.
        topologies: Who does what, for the first size.
        batches: Images in a request, for the ensemble.
        sizes: `--size` of the client.
        cameras: How many cameras; the ensemble alone.
        fps: Of each.
        window_ms: Length of a window.
        rounds: How often.
    """

    concurrency: tuple[int, ...]
    transports: tuple[str, ...]
    topologies: tuple[str, ...]
    batches: tuple[int, ...]
    sizes: tuple[int, ...]
    cameras: tuple[int, ...]
    fps: float
    window_ms: int
    rounds: int

    def contenders(self, size: int) -> list[tuple[str, str, int]]:
        """Topology, transport and batch of what is compared at a size."""
        local = [transport for transport in self.transports if transport != "jpeg"]
        together = [("ensemble", local[-1], b) for b in self.batches if b > 1 and local]
        if size != self.sizes[0]:
            return [("ensemble", transport, 1) for transport in self.transports] + together
        rows = [(topology, t, 1) for topology in self.topologies for t in local]
        if "jpeg" in self.transports:
            rows.append(("ensemble", "jpeg", 1))
        return rows + together


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
        pictures = canvases(read_frames(sources, frames=frames), size=size, stride=stride)
    except FaceblurError as error:
        raise click.ClickException(str(error)) from error
    write_inputs(output, pictures, inputs=kind, min_score=min_score)
    height, width = pictures[0].shape[:2]
    click.echo(f"{output}: {len(pictures)} pictures of {height} × {width}")


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
        tool = PerfAnalyzer.find(models.cache_folder())
        frames = read_frames(sources, frames=24)
        card = machine_card() | {"perf_analyzer": tool.version()}
        run = _Run(plan, tool, frames)
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


class _Run:
    """Collects points."""

    def __init__(self, plan: Plan, tool: PerfAnalyzer, frames: Sequence[Canvas]) -> None:
        self.points: list[Point] = []
        self.notes: list[str] = []
        self._plan = plan
        self._tool = tool
        self._frames = frames

    def embedded(self, name: str, *, instances: int, threads: int) -> dict[str, object]:
        """Measure a model on a server of its own, beside the same work in this process."""
        onnx, info = models.find(name)
        options = ServerOptions(
            onnx=onnx,
            model=info,
            instances=instances,
            threads=threads,
            jpeg="jpeg" in self._plan.transports,
            closed=(),  # perf_analyzer has no token
        )
        with contextlib.ExitStack() as stack:
            running = stack.enter_context(topology_server(options))
            local = InProcessDetector(onnx, instances=instances, threads=threads)
            stack.callback(local.close)
            meter = Meter(self._tool, open_client(running.address), lambda: family(running.pid))
            self._measure(running.address, meter, info, local)
            self.notes.append(self._post_processing_note(onnx))
            return _model_card(meter.client, info) | {
                "precision": _precision(onnx),
                "server": "embedded",
                "instances": instances,
                "threads": threads,
            }

    def remote(self, address: str) -> dict[str, object]:
        """Measure what a server serves."""
        detector = TritonDetector(Connection(address=address, transport="raw"))
        info = detector.model
        detector.close()
        meter = Meter(self._tool, open_client(address), lambda: ())
        self._measure(address, meter, info, None)
        return _model_card(meter.client, info) | {"server": "given"}

    def _measure(
        self, address: str, meter: Meter, info: ModelInfo, local: InProcessDetector | None
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="faceblur-analyzer-") as folder:
            for size in self._plan.sizes:
                bench = _Bench(self._plan, address, meter, info, Path(folder), given=local is None)
                bench.pictures = canvases(self._frames, size=size, stride=info.stride)
                for _ in range(self._plan.rounds):
                    self.points += bench.sweep(size, local)
                if size == self._plan.sizes[0]:
                    self.points += bench.watch_cameras()
                self.notes += bench.notes

    def _post_processing_note(self, onnx: Path) -> str:
        session = open_onnx(onnx, threads=1)
        picture = canvases(self._frames, size=self._plan.sizes[0], stride=32)[0]
        candidates, priors = session.run(OUTPUTS, {INPUT: picture[None]})
        score = np.array([DEFAULT_THRESHOLD], np.float32)
        start = time.process_time()
        for _ in range(50):
            postprocess.find_faces(candidates, priors, score)
        each = (time.process_time() - start) / 50 * 1e3
        return (
            f"`detector alone` leaves decode and suppression to the client: {each:.2f} ms of its "
            "CPU an image more, not counted here."
        )


class _Bench:
    """One server, one size."""

    def __init__(
        self, plan: Plan, address: str, meter: Meter, info: ModelInfo, folder: Path, *, given: bool
    ) -> None:
        self.pictures: list[Canvas] = []
        self._given = given
        self.notes: list[str] = []
        self._plan = plan
        self._address = address
        self._meter = meter
        self._info = info
        self._folder = folder

    def sweep(self, size: int, local: InProcessDetector | None) -> Iterator[Point]:
        """All contenders at each concurrency, one beside the other."""
        for concurrency in self._plan.concurrency:
            if local is not None:
                case = self._case(IN_PROCESS, concurrency=concurrency)
                seconds = 3 * self._plan.window_ms / 1e3
                yield measure_in_process(
                    case, local, self.pictures, min_score=DEFAULT_THRESHOLD, seconds=seconds
                )
            for name, transport, batch in self._plan.contenders(size):
                case = self._case(name, transport=transport, batch=batch, concurrency=concurrency)
                yield from self._point(case)

    def watch_cameras(self) -> Iterator[Point]:
        """The ensemble under cameras that send at their own pace."""
        transport = "shm" if "shm" in self._plan.transports else self._plan.transports[0]
        for cameras in self._plan.cameras:
            yield from self._point(
                self._case("ensemble", transport=transport, cameras=cameras, fps=self._plan.fps)
            )

    def _case(self, topology: str, **values: Any) -> Case:
        height, width = self.pictures[0].shape[:2]
        return Case(model=self._info.name, shape=f"{height}×{width}", topology=topology, **values)

    def _point(self, case: Case) -> Iterator[Point]:
        topology = JPEG if case.transport == "jpeg" else TOPOLOGIES[case.topology]
        if self._given:
            topology = served(topology, self._meter.client)
        load = Load(
            address=self._address,
            model=topology.model,
            data=self._inputs(topology),
            batch=case.batch,
            memory=MEMORY[case.transport],  # type: ignore[arg-type]
            concurrency=case.concurrency,
            rate=case.cameras * case.fps,
            window_ms=self._plan.window_ms,
        )
        click.echo(f"{case.topology} {case.transport} {load.concurrency or load.rate:g}", err=True)
        try:
            yield self._meter.measure(case, load, parts=topology.parts)
        except AnalyzerError as error:
            # A server that refuses what is too much is a finding, no reason to lose the rest.
            what = f"{case.cameras} cameras" if case.cameras else f"{case.concurrency} under way"
            self.notes.append(
                f"{case.topology} {case.transport}, {case.batch} a request, {what}: {error}."
            )

    def _inputs(self, topology: Topology) -> Path:
        path = self._folder / f"{topology.inputs}-{self.pictures[0].shape}.json"
        if not path.is_file():
            write_inputs(path, self.pictures, inputs=topology.inputs, min_score=DEFAULT_THRESHOLD)
        return path


def _model_card(client: Any, info: ModelInfo) -> dict[str, object]:
    config = client.get_model_config(DETECTOR).config
    groups = [f"{group.count} × {group.Kind.Name(group.kind)}" for group in config.instance_group]
    card: dict[str, object] = {
        "model": info.name,
        "sha256": info.sha256,
        "triton": client.get_server_metadata().version,
        "backend": config.backend,
        "instance_groups": ", ".join(groups),
    }
    return card | ({"gpu": gpu} if (gpu := gpu_facts()) else {})


def gpu_facts() -> str:
    """What nvidia-smi says of the GPU; nothing where there is none."""
    if shutil.which("nvidia-smi") is None:
        return ""
    fields = "name,driver_version,clocks.sm,clocks.max.sm"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return done.stdout.strip() if not done.returncode else ""


def _precision(onnx: Path) -> str:
    metadata = open_onnx(onnx, threads=1).get_modelmeta().custom_metadata_map
    return str(metadata.get("precision", "unknown"))


def _given(**facts: str | None) -> dict[str, object]:
    return {key: value or "not given" for key, value in facts.items()}
