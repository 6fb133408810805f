"""What is measured on one machine: is it right, how fast is it, how many cameras does it hold."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from benchmarks.analyzer.frames import Canvas, write_inputs
from benchmarks.analyzer.points import Case, Meter, Point, open_client
from benchmarks.analyzer.server import TOPOLOGIES
from benchmarks.analyzer.tool import AnalyzerError, Load, Reading
from benchmarks.gpu import pytorch
from benchmarks.gpu.agreement import compare
from benchmarks.gpu.devices import Device
from benchmarks.gpu.networks import Network
from benchmarks.gpu.results import Held, Raw, Results
from benchmarks.gpu.watch import watching
from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import ServerStartError
from harness import family

TOPOLOGY: Final = TOPOLOGIES["ensemble"]
IN_TIME: Final = 0.98
"""Of the frames sent that must be answered: below it the server, or the generator, falls behind."""

Canvases = Sequence[Canvas]


class Generator(Protocol):
    """Puts loads on a server: perf_analyzer, or ours."""

    def version(self) -> str:
        """What it says of itself."""
        ...

    def measure(self, load: Load) -> Reading:
        """Put one load on a server; see `PerfAnalyzer`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Scope:
    """How much is measured.

    Attributes:
        batches: Images in one run, without a server.
        concurrency: Requests under way.
        together: Images in a request, and requests under way with them.
        rates: Frames a second of a camera.
        window_ms: Length of a window, of which there are three for each load.
        raw_s: Seconds for each batch without a server.
        trials: Numbers of cameras that are tried, at most.
    """

    batches: tuple[int, ...] = (1, 8, 32)
    concurrency: tuple[int, ...] = (1, 8, 32, 64)
    together: tuple[tuple[int, int], ...] = ((4, 16), (8, 16))
    rates: tuple[float, ...] = (15.0, 30.0)
    window_ms: int = 400
    raw_s: float = 0.3
    trials: int = 6


@dataclass
class Bench:
    """Measures, and writes each finding down at once.

    Attributes:
        results: Where findings go.
        generator: What puts loads on servers.
        scope: How much is measured.
        canvases: Model inputs of one shape, for speed.
        others: Model inputs of any shape, for agreement.
        folder: For the generator's inputs.
    """

    results: Results
    generator: Generator
    scope: Scope
    canvases: Canvases
    others: Canvases
    folder: Path
    _inputs: Path | None = field(default=None, init=False)

    def judge(self, device: Device, single: Network, networks: Sequence[Network]) -> None:
        """Hold what a device finds against the CPU."""
        for network in networks:
            self.results.agreements.append(compare(device, single, network, self.others))

    def run_alone(self, device: Device, network: Network) -> None:
        """A network in growing batches, without a server."""
        run = device.open(network, batch=max(self.scope.batches))
        pool = np.stack([self.canvases[n % len(self.canvases)] for n in range(64)])
        for batch in self.scope.batches:
            taken, number = [], 0
            for _ in range(3):
                run(pool[:batch])
            end = time.perf_counter() + self.scope.raw_s
            while time.perf_counter() < end or len(taken) < 3:
                first = number * batch % (len(pool) - batch + 1)
                start = time.perf_counter()
                run(pool[first : first + batch])
                taken.append(time.perf_counter() - start)
                number += 1
            self.results.raw.append(
                Raw(
                    network=network.name,
                    precision=network.precision,
                    runtime=device.name,
                    batch=batch,
                    images_per_s=round(len(taken) * batch / sum(taken), 1),
                    ms=round(statistics.median(taken) * 1e3, 3),
                )
            )

    def run_in_pytorch(self, network: Network) -> None:
        """The same in PyTorch, for what the GPU could do."""
        height, width = self.canvases[0].shape[:2]
        self.results.raw += pytorch.measure(
            network,
            batches=self.scope.batches,
            shape=(height, width),
            seconds=self.scope.raw_s,
        )

    def serve(
        self,
        device: Device,
        network: Network,
        *,
        instances: int,
        scope: Scope | None = None,
    ) -> None:
        """A network behind Triton: throughput and latency, then cameras.

        Args:
            device: What runs it.
            network: The network.
            instances: Of it, at the same time.
            scope: In place of the usual one.
        """
        scope = scope or self.scope
        with self._server(device, network, instances) as served:
            best = 0.0
            for load in scope.concurrency:
                best = max(best, served.throughput(concurrency=load))
            for batch, load in scope.together:
                served.throughput(concurrency=load, batch=batch)
            for fps in scope.rates if best else ():
                served.hold_cameras(fps, most=best / fps)

    @contextmanager
    def _server(self, device: Device, network: Network, instances: int) -> Iterator[_Served]:
        choice = device.choice(network, instances=instances, batch=8)
        begin = time.perf_counter()
        with ExitStack() as stack:
            options = ServerOptions(
                onnx=network.onnx,
                model=network.info,
                instances=instances,
                choice=choice,
                jpeg=False,  # what is measured begins when each instance has met every shape
                closed=(),  # perf_analyzer has no token
                start_timeout_s=120,
            )
            watch = stack.enter_context(watching(device.gpu.index))
            server = stack.enter_context(TritonServer(options))
            ready_s = time.perf_counter() - begin
            watch.begin()
            if server.options.choice != choice:
                raise ServerStartError(
                    f"{device.name} was asked for, and {server.options.choice.where} ran"
                )
            if self._inputs is None:
                self._inputs = write_inputs(
                    self.folder / "inputs.json",
                    self.canvases,
                    inputs=TOPOLOGY.inputs,
                    min_score=DEFAULT_THRESHOLD,
                )
            client = stack.enter_context(open_client(server.address))
            meter = Meter(self.generator, client, lambda: family(server.pid))  # type: ignore[arg-type]
            yield _Served(self, device, network, server.address, meter, self._inputs)
            facts = {"instances": instances, "ready_s": round(ready_s, 1)} | watch.summary()
            self.results.servers.append(
                {"network": network.name, "precision": network.precision, "runtime": device.name}
                | facts
            )


@dataclass(frozen=True)
class _Served:
    """One server under load."""

    bench: Bench
    device: Device
    network: Network
    address: str
    meter: Meter
    inputs: Path

    def throughput(self, *, concurrency: int, batch: int = 1) -> float:
        """Images a second with so many requests under way; 0 where nothing was measured."""
        point = self._point(concurrency=concurrency, batch=batch)
        return point.frames_per_s if point else 0.0

    def hold_cameras(self, fps: float, *, most: float) -> None:
        """Search for the most cameras with p99 under the time of a frame."""
        held, refused, p99 = 0, None, None
        cameras = max(1, round(0.8 * most))
        for _ in range(self.bench.scope.trials):
            point = self._point(cameras=cameras, fps=fps)
            if point and _in_time(point):
                held, p99 = cameras, point.p99_ms
            else:
                refused = cameras
            following = _between(held, refused)
            if following is None:
                break
            cameras = following
        self.bench.results.held.append(
            Held(
                network=self.network.name,
                precision=self.network.precision,
                runtime=self.device.name,
                fps=fps,
                cameras=held,
                p99_ms=p99,
                refused=refused,
            )
        )

    def _point(
        self, *, concurrency: int = 0, batch: int = 1, cameras: int = 0, fps: float = 0.0
    ) -> Point | None:
        height, width = self.bench.canvases[0].shape[:2]
        case = Case(
            model=self.network.name,
            shape=f"{height}×{width}",
            topology=TOPOLOGY.name,
            transport="shm",
            batch=batch,
            concurrency=concurrency,
            cameras=cameras,
            fps=fps,
            precision=self.network.precision,
            runtime=self.device.name,
        )
        load = Load(
            address=self.address,
            model=TOPOLOGY.model,
            data=self.inputs,
            batch=batch,
            memory="system",
            concurrency=concurrency,
            rate=cameras * fps,
            window_ms=self.bench.scope.window_ms,
        )
        try:
            point = self.meter.measure(case, load, parts=TOPOLOGY.parts)
        except AnalyzerError as error:
            load_name = f"{cameras} cameras at {fps:g}" if cameras else f"{concurrency} in flight"
            who = f"{self.network.name} {self.network.precision} {self.device.name}"
            self.bench.results.notes.append(f"{who}, {load_name}, {batch} a request: {error}.")
            return None
        self.bench.results.points.append(point)
        return point


def _in_time(point: Point) -> bool:
    case = point.case
    wanted = case.cameras * case.fps
    return point.p99_ms < 1e3 / case.fps and point.frames_per_s >= IN_TIME * wanted


def _between(held: int, refused: int | None) -> int | None:
    """The next number of cameras to try; None where that would tell nothing new."""
    if refused is None:
        return max(held + 1, round(held * 1.25))
    if held == 0:
        return refused // 2 if refused > 1 else None
    middle = (held + refused) // 2
    # To five in a hundred.
    return None if refused - held <= max(1, 0.05 * refused) else middle
