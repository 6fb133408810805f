"""Puts the loads of a plan on servers, and collects the points."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.analyzer.frames import Canvas, canvases, write_inputs
from benchmarks.analyzer.points import (
    IN_PROCESS,
    Case,
    Meter,
    Point,
    measure_in_process,
    open_client,
)
from benchmarks.analyzer.server import JPEG, TOPOLOGIES, Topology, served, topology_server
from benchmarks.analyzer.tool import AnalyzerError, Load, PerfAnalyzer
from faceblur.detection import decoding as postprocess
from faceblur.detection import models
from faceblur.detection.detector import ModelInfo
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.models import INPUT, OUTPUTS, open_onnx
from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.detection.triton.client import DETECTOR, TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.server_options import ServerOptions
from harness import family

MEMORY: Final = {"raw": "none", "shm": "system", "jpeg": "none"}


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


class Run:
    """Measures servers, and collects what was found.

    Attributes:
        points: Of all servers.
        notes: Sentences for the page.
    """

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
                bench.images = canvases(self._frames, size=size, stride=info.stride)
                for _ in range(self._plan.rounds):
                    self.points += bench.sweep(size, local)
                if size == self._plan.sizes[0]:
                    self.points += bench.watch_cameras()
                self.notes += bench.notes

    def _post_processing_note(self, onnx: Path) -> str:
        session = open_onnx(onnx, threads=1)
        image = canvases(self._frames, size=self._plan.sizes[0], stride=32)[0]
        candidates, priors = session.run(OUTPUTS, {INPUT: image[None]})
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
        self.images: list[Canvas] = []
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
                    case, local, self.images, min_score=DEFAULT_THRESHOLD, seconds=seconds
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
        height, width = self.images[0].shape[:2]
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
        path = self._folder / f"{topology.inputs}-{self.images[0].shape}.json"
        if not path.is_file():
            write_inputs(path, self.images, inputs=topology.inputs, min_score=DEFAULT_THRESHOLD)
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
