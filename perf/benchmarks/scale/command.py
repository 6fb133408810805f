"""`perf/run scale`."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.scale.clips import cut
from benchmarks.scale.simulation import (
    MEDIAN_S,
    SPREAD,
    WORKERS,
    Parts,
    evenness,
    simulate,
)
from faceblur.batch.jobs import Job, plan
from faceblur.batch.outcome import RunOptions
from faceblur.batch.runner import run as run_here
from faceblur.cluster.connection import connected
from faceblur.cluster.options import ClusterOptions
from faceblur.cluster.run import Standing, run
from faceblur.cluster.worker import WorkerSetup
from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.errors import FaceblurError
from harness import (
    card_lines,
    command_line,
    cpu_s,
    family,
    machine_card,
    markdown,
    page_of,
    write_results,
)

_ALONE: Final = SessionOptions(in_process=True, model="fast")
_ON: Final = ClusterOptions(address="ray", cpus_per_worker=1, files_per_worker=1)
_EMPTY_FILES: Final = 300


@dataclass(frozen=True)
class Sample:
    """One round: files a minute, and seconds of one core for each."""

    contender: str
    workers: int
    files_per_min: float


@click.command("scale")
@click.argument("video", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--files", default=12, show_default=True)
@click.option("--frames", default=50, show_default=True, help="Of each file.")
@click.option("--workers", default="1,2", show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--core-hour", default=0.04, show_default=True, help="What a core costs an hour.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def scale(
    *,
    video: Path,
    files: int,
    frames: int,
    workers: str,
    rounds: int,
    core_hour: float,
    output: Path,
) -> None:
    """Mask short files of VIDEO by workers of Ray with one core each, and by none."""
    # Ray has its workers give way to all other programs: what is compared does not.
    os.environ.update({"RAY_worker_niceness": "0"})
    counts = [int(count) for count in workers.split(",")]
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fb-")))
        (place / "in").mkdir()
        length_s = float(cut(video, place / "in", files=files, frames=frames))
        jobs = plan([str(place / "in")], place / "out")
        in_bytes = sum(job.source.stat().st_size for job in jobs) / files / length_s
        card = machine_card()
        ray = stack.enter_context(connected(_ON))
        head = family(os.getpid())
        # What is compared with has one core too; the cluster has started with all of them.
        core = min(os.sched_getaffinity(0))
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})
        session = stack.enter_context(open_session(_ALONE))
        samples: list[Sample] = []
        for index in range(rounds):
            order = [0, *counts]
            for count in order if index % 2 else reversed(order):
                shutil.rmtree(place / "out", ignore_errors=True)
                speed = _ray(ray, jobs, count) if count else _here(jobs, session)
                name = f"Ray, {count} worker{'s' * (count > 1)}" if count else "no Ray, one core"
                samples.append(Sample(name, count, speed))
        out_bytes = sum(job.output.stat().st_size for job in jobs) / files / length_s
        empty = _empty(ray, place, head)
    medians = _medians(samples)
    here_s, ray_s = 60 / medians[0], 60 / medians[counts[0]] * counts[0]
    parts = Parts(
        work_s=here_s / length_s,
        overhead_s=max(ray_s - here_s, 0.0),
        head_s=empty["head_cpu_ms"] / 1e3,
        in_bytes=in_bytes,
        out_bytes=out_bytes,
    )
    card |= {"files": files, "frames": frames, "seconds": round(length_s, 2), "rounds": rounds}
    card |= {"video": video.name, "core_hour": core_hour}
    _save(output, samples, medians, parts, empty, card)


def _here(jobs: list[Job], session: DetectionSession) -> float:
    """Files a minute of this process."""
    started = time.perf_counter()
    for outcome in run_here(jobs, session, RunOptions()):
        if outcome.error is not None:
            raise outcome.error
    return len(jobs) / (time.perf_counter() - started) * 60


class _Few:
    """Ray, as if each machine had fewer CPUs."""

    def __init__(self, ray: Any, cpus: int) -> None:
        self._ray = ray
        self._cpus = cpus

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ray, name)

    def nodes(self) -> Iterator[dict[str, Any]]:
        for node in self._ray.nodes():
            yield {**node, "Resources": {**node["Resources"], "CPU": float(self._cpus)}}


def _setup() -> WorkerSetup:
    return WorkerSetup(options=RunOptions(), session=_ALONE, size=640, media="video")


def _ray(ray: Any, jobs: list[Job], workers: int) -> float:
    """Files a minute of workers, from when all are ready."""
    ready_s: list[float] = []

    def on_standing(standing: Standing) -> None:
        if standing.workers == workers and not ready_s:
            ready_s.append(time.perf_counter())

    done = []
    for job, result in run(_Few(ray, workers), jobs, _setup(), _ON, on_standing=on_standing):
        if result.failure is not None:
            raise FaceblurError(f"{job.source.name}: {result.failure.reason}")
        done.append(time.perf_counter())
    # A worker may end while another is still at its last file: that time is not counted.
    counted = [when for when in done if when >= ready_s[0]]
    end_s = counted[-workers]
    return (len(counted) - workers + 1) / (end_s - ready_s[0]) * 60


def _empty(ray: Any, place: Path, head: list[int]) -> dict[str, float]:
    """What a file costs that is not there: all but the masking."""
    jobs = [
        Job(place / f"{n}.mp4", place / "out" / f"{n}.mp4", "video") for n in range(_EMPTY_FILES)
    ]
    started = before = 0.0
    for count, _ in enumerate(run(_Few(ray, 1), jobs, _setup(), _ON)):
        if count == 0:
            # Its worker has come up.
            started, before = time.perf_counter(), time.process_time() + cpu_s(head)
    wall = time.perf_counter() - started
    spent = time.process_time() + cpu_s(head) - before
    files = _EMPTY_FILES - 1
    return {"wall_ms": wall / files * 1e3, "head_cpu_ms": spent / files * 1e3}


def _medians(samples: list[Sample]) -> dict[int, float]:
    counts = dict.fromkeys(sample.workers for sample in samples)
    return {
        count: statistics.median(s.files_per_min for s in samples if s.workers == count)
        for count in sorted(counts)
    }


def _save(
    folder: Path,
    samples: list[Sample],
    medians: dict[int, float],
    parts: Parts,
    empty: dict[str, float],
    card: dict[str, object],
) -> None:
    single = medians[min(count for count in medians if count)]
    rows = [
        {
            "contender": next(s.contender for s in samples if s.workers == count),
            "files_per_min": speed,
            "efficiency": speed / single / count if count else speed / single,
        }
        for count, speed in medians.items()
    ]
    load, even = simulate(parts), evenness(parts)
    price = load.core_hours_per_1000 * float(str(card["core_hour"]))
    costs = {
        "core_hours": load.core_hours_per_1000,
        "price": price,
        **{f"price_ray_{each.workers}": price / each.ray for each in even},
        **{f"price_shards_{each.workers}": price / each.shards for each in even},
    }
    document = {
        "command": command_line(sys.argv),
        "card": card,
        "rows": rows,
        "parts": asdict(parts),
        "empty": empty,
        "load": asdict(load),
        "evenness": [asdict(each) for each in even],
        "costs": costs,
        "samples": [asdict(sample) for sample in samples],
    }
    speeds = markdown(
        "contender | files/min | efficiency",
        [(r["contender"], f"{r['files_per_min']:.1f}", f"{r['efficiency']:.2f}") for r in rows],
    )
    facts = markdown(
        f"{WORKERS} workers of one core, simulated | ",
        [(name.replace("_", " "), f"{value:.3g}") for name, value in asdict(load).items()],
    )
    spent = markdown(
        "1,000 hours of video | ", [(n.replace("_", " "), f"{v:.4g}") for n, v in costs.items()]
    )
    ends = markdown(
        "workers, simulated | busy until the last is done, Ray | shards",
        [(each.workers, f"{each.ray:.2f}", f"{each.shards:.2f}") for each in even],
    )
    measured = markdown(
        "measured | ",
        [(n.replace("_", " "), f"{v:.4g}") for n, v in {**asdict(parts), **empty}.items()],
    )
    notes = (
        "Each worker has one core. Files are counted from when all workers are ready until one has "
        "nothing left. The efficiency is against one worker of Ray. Files of the simulation last "
        f"{MEDIAN_S / 60:.0f} minutes in the middle (log-normal, sigma {SPREAD:g})."
    )
    parts_text = [
        "# scale",
        f"`{command_line(sys.argv)}`",
        notes,
        speeds,
        measured,
        facts,
        ends,
        spent,
        card_lines(card),
    ]
    write_results(folder, "scale", document, page_of(parts_text))
    click.echo("\n\n".join(parts_text[3:8]))
