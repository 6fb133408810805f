"""A thousand workers, played with the parts that were measured here and the real schedule."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from typing import Final

from faceblur.cluster.schedule import Schedule
from faceblur.cluster.shards import Shard

WORKERS: Final = 1000
FEWER: Final = (8, 100, WORKERS)
"""Of how many workers it is said how evenly they end."""

FILES: Final = 20_000
MEDIAN_S: Final = 600.0
SPREAD: Final = 1.0
"""Files last as long as a log-normal distribution has it: median 10 minutes, sigma 1."""

REQUESTS: Final = 4
"""Of a file in a store, at least: the note, the source, the result, the new note."""

SEED: Final = 20


@dataclass(frozen=True)
class Parts:
    """What was measured.

    Attributes:
        work_s: Seconds of one core for a second of video.
        overhead_s: Seconds of a file in a worker of Ray beyond that.
        head_s: CPU seconds of the driver and the head for a file.
        in_bytes: Of a second of video; likewise `out_bytes` of the result.
    """

    work_s: float
    overhead_s: float
    head_s: float
    in_bytes: float
    out_bytes: float


@dataclass(frozen=True)
class Load:
    """What a thousand workers of one core each do.

    Attributes:
        hours: Of video.
        core_hours_per_1000: For 1,000 hours of video.
        files_per_s: That are finished while all are busy.
        head_share: Of one core, for the driver and the head, how far each worker is included.
        requests_per_s: To the store; likewise bytes, in and out.
    """

    hours: float
    core_hours_per_1000: float
    files_per_s: float
    head_share: float
    requests_per_s: float
    in_mb_per_s: float
    out_mb_per_s: float


def simulate(parts: Parts) -> Load:
    """Play it."""
    lengths, costs = _files(parts)
    files_per_s = WORKERS / (sum(costs) / FILES)
    # Each worker is asked how far it is every ten seconds, at the cost of a file at most.
    asked_per_s = WORKERS / max(1.0, WORKERS / 100)
    video_s = sum(lengths)
    return Load(
        hours=video_s / 3600,
        core_hours_per_1000=sum(costs) / video_s * 1000,
        files_per_s=files_per_s,
        head_share=(files_per_s + asked_per_s) * parts.head_s,
        requests_per_s=files_per_s * REQUESTS,
        in_mb_per_s=WORKERS / parts.work_s * parts.in_bytes / 1e6,
        out_mb_per_s=WORKERS / parts.work_s * parts.out_bytes / 1e6,
    )


@dataclass(frozen=True)
class Evenness:
    """Share of the time until the last worker is done in which workers are busy.

    Attributes:
        ray: With the schedule of Ray, the largest first.
        shards: With as many shards.
    """

    workers: int
    ray: float
    shards: float


def evenness(parts: Parts) -> list[Evenness]:
    """How evenly workers end."""
    _, costs = _files(parts)
    return [
        Evenness(
            workers,
            sum(costs) / workers / _largest_first(costs, workers),
            sum(costs) / workers / _shards(costs, workers),
        )
        for workers in FEWER
    ]


def _files(parts: Parts) -> tuple[list[float], list[float]]:
    """How long each file is, and what it costs, seconds."""
    chance = random.Random(SEED)
    lengths = [MEDIAN_S * chance.lognormvariate(0, SPREAD) for _ in range(FILES)]
    return lengths, [length * parts.work_s + parts.overhead_s for length in lengths]


def _largest_first(costs: list[float], workers: int) -> float:
    """When the last worker is done, where each takes the next file."""
    schedule = Schedule(int(cost * 1e6) for cost in costs)
    nodes = [str(worker) for worker in range(workers)]
    free = [(0.0, node) for node in nodes]
    end_s = 0.0
    while True:
        now_s, node = heapq.heappop(free)
        task = schedule.take(node, nodes=nodes, idle=True)
        if task is None:
            return end_s
        done_s = now_s + costs[task.number]
        end_s = max(end_s, done_s)
        heapq.heappush(free, (done_s, node))


def _shards(costs: list[float], workers: int) -> float:
    """When the last of as many shards is done."""
    loads = [0.0] * workers
    shards = Shard(0, workers)
    for number, cost in enumerate(costs):
        loads[shards.of(f"{number:05d}.mp4")] += cost
    return max(loads)
