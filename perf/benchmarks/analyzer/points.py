"""What a run measures: loads on a server, its own statistics of them, and the work in process."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from benchmarks.analyzer.frames import Canvas
from benchmarks.analyzer.tool import Load, PerfAnalyzer
from faceblur.detection.detector import Detector
from faceblur.detection.triton import channel
from faceblur.detection.triton.connection import Connection
from faceblur.detections import Detections
from harness import cpu_s

Transport = Literal["raw", "shm", "jpeg"]

IN_PROCESS: Final = "in process"
PHASES: Final = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One load, in words.

    Attributes:
        model: Name of the detector's model.
        shape: Of an image, height × width.
        topology: Who does what.
        transport: How images travel; `none` in process.
        batch: Images in a request.
        concurrency: Requests under way; 0 where cameras send at their own pace.
        cameras: How many; 0 where requests follow each other.
        fps: Of each camera.
        precision: How the network computes, where a run has several.
        runtime: What runs it, likewise.
    """

    model: str
    shape: str
    topology: str
    transport: str = "none"
    batch: int = 1
    concurrency: int = 0
    cameras: int = 0
    fps: float = 0.0
    precision: str = ""
    runtime: str = ""


@dataclass(frozen=True, kw_only=True)
class Point:
    """What came of it.

    Attributes:
        case: The load.
        frames_per_s: Images answered a second.
        p50_ms: Latency of a request, as the client sees it, the median.
        p90_ms: Its 90th percentile.
        p95_ms: Its 95th percentile.
        p99_ms: Its 99th percentile.
        windows: Images a second in each window of the measurement.
        cpu_ms: CPU time of the server's processes, or of the work in process, for an image; None
            for a server elsewhere.
        stages: For each part, milliseconds of a request in each of `PHASES`, from Triton's own
            statistics, and `pictures` and `executions`.
        columns: All that perf_analyzer reported.
    """

    case: Case
    frames_per_s: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    windows: tuple[float, ...] = ()
    cpu_ms: float | None = None
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    columns: dict[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Point:
        """From a JSON file."""
        return cls(**{**values, "case": Case(**values["case"])})


@dataclass(frozen=True)
class Meter:
    """Puts loads on one server and reads its statistics.

    Attributes:
        tool: perf_analyzer.
        client: A `tritonclient.grpc.InferenceServerClient` of the server.
        pids: The server's processes, where they are on this machine.
    """

    tool: PerfAnalyzer
    client: Any
    pids: Callable[[], Sequence[int]]

    def measure(self, case: Case, load: Load, *, parts: Sequence[str]) -> Point:
        """Measure one load.

        Args:
            case: What to call it.
            load: What to send.
            parts: Models whose statistics to read; the first is the one that sees each image.

        Raises:
            AnalyzerError: Nothing was measured.
        """
        pids = self.pids()
        before, cpu = self._statistics(parts), cpu_s(pids)
        reading = self.tool.measure(load)
        cpu = cpu_s(pids) - cpu
        after = self._statistics(parts)
        stages = {part: _stage(before[part], after[part]) for part in parts}
        # What warmed the server up counts here and there.
        images = max(1.0, stages[parts[0]]["pictures"])
        return Point(
            case=case,
            frames_per_s=reading.frames_per_s,
            p50_ms=reading.p50_ms,
            p90_ms=reading.p90_ms,
            p95_ms=reading.p95_ms,
            p99_ms=reading.p99_ms,
            windows=reading.windows,
            cpu_ms=cpu / images * 1e3 if pids else None,
            stages=stages,
            columns=reading.columns,
        )

    def _statistics(self, parts: Sequence[str]) -> dict[str, dict[str, int]]:
        return {part: _counters(self.client, part) for part in parts}


def open_client(address: str) -> Any:
    """A `tritonclient.grpc.InferenceServerClient`."""
    return channel.open_client(Connection(address=address))


def measure_in_process(
    case: Case,
    detector: Detector,
    images: Sequence[Canvas],
    *,
    min_score: float,
    seconds: float,
) -> Point:
    """Do the same work without a server, as many images under way as the case says."""
    latencies: list[float] = []
    waiting: deque[tuple[float, Future[Detections]]] = deque()

    def send(number: int) -> None:
        canvas = images[number % len(images)]
        sent = time.perf_counter()
        future = detector.submit([canvas], min_score=min_score)[0]
        future.add_done_callback(lambda _: latencies.append(time.perf_counter() - sent))
        waiting.append((sent, future))

    for number in range(case.concurrency):
        send(number)
    for _, future in waiting:
        future.result(60)
    waiting.clear()
    latencies.clear()
    start, cpu, number = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        if len(waiting) == case.concurrency:
            waiting.popleft()[1].result(60)
        send(number)
        number += 1
    for _, future in waiting:
        future.result(60)
    wall = time.perf_counter() - start
    cuts = [1e3 * cut for cut in statistics.quantiles(latencies, n=100, method="inclusive")]
    return Point(
        case=case,
        frames_per_s=number / wall,
        p50_ms=cuts[49],
        p90_ms=cuts[89],
        p95_ms=cuts[94],
        p99_ms=cuts[98],
        cpu_ms=(time.process_time() - cpu) / number * 1e3,
    )


def medians(points: Sequence[Point]) -> list[Point]:
    """Of the points of each case, the one of the middle throughput; in the order of the cases."""
    by_case: dict[Case, list[Point]] = {}
    for point in points:
        by_case.setdefault(point.case, []).append(point)
    return [
        sorted(each, key=lambda p: p.frames_per_s)[(len(each) - 1) // 2]
        for each in by_case.values()
    ]


def series(points: Sequence[Point]) -> dict[Case, list[Point]]:
    """Group points that differ in concurrency alone, under a case with none; fewest first."""
    grouped: dict[Case, list[Point]] = {}
    for point in medians(points):
        if not point.case.cameras:
            values = {**asdict(point.case), "concurrency": 0}
            grouped.setdefault(Case(**values), []).append(point)
    return {case: sorted(each, key=lambda p: p.case.concurrency) for case, each in grouped.items()}


def knee(points: Sequence[Point]) -> Point:
    """The least concurrency that gives 95 % of the best throughput: more only waits longer."""
    best = max(point.frames_per_s for point in points)
    return next(p for p in points if p.frames_per_s >= 0.95 * best)


def _counters(client: Any, model: str) -> dict[str, int]:
    stats = client.get_inference_statistics(model).model_stats[0]
    inside = stats.inference_stats
    counters = {phase: int(getattr(inside, phase).ns) for phase in PHASES}
    return counters | {
        "requests": int(inside.success.count),
        "pictures": int(stats.inference_count),
        "executions": int(stats.execution_count),
    }


def _stage(before: dict[str, int], after: dict[str, int]) -> dict[str, float]:
    grown = {key: after[key] - before[key] for key in after}
    requests = max(1, grown["requests"])
    stage = {phase: grown[phase] / requests / 1e6 for phase in PHASES}
    return stage | {"pictures": grown["pictures"], "executions": grown["executions"]}
