"""Write down what perf_analyzer found: JSON, tables, plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.analyzer.plots import plot_cameras, plot_curves, plot_stages
from benchmarks.analyzer.points import IN_PROCESS, PHASES, Case, Point, knee, medians, series
from harness import card_lines, markdown, verdict

KIND: Final = "perf_analyzer"
MIN_RATIO: Final = 0.95
MAX_SPREAD: Final = 2.0


def write_run(
    output: Path,
    *,
    points: Sequence[Point],
    card: dict[str, object],
    command: str,
    notes: Sequence[str],
) -> None:
    """Write OUTPUT.json, OUTPUT.md and OUTPUT-curves.png, -stages.png and -cameras.png."""
    output.parent.mkdir(parents=True, exist_ok=True)
    targets = judge(points)
    document = {
        "kind": KIND,
        "command": command,
        "card": card,
        "targets": targets,
        "notes": list(notes),
        "points": [point.plain() for point in points],
    }
    output.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    curves = series(points)
    plots = [_beside(output, "curves"), _beside(output, "stages")]
    plot_curves(plots[0], curves)
    plot_stages(plots[1], curves)
    watched = [point for point in medians(points) if point.case.cameras]
    if watched:
        plots.append(_beside(output, "cameras"))
        plot_cameras(plots[2], watched)
    facts = card_lines(card)
    verdicts = [f"- {verdict(met)}: {text}" for text, met in targets.items()]
    parts = [
        f"# {output.stem}",
        f"`{command}`",
        "Latencies are of a request, as perf_analyzer sees them; CPU time is of the server's "
        "processes, without perf_analyzer's, or of the work in process. The knee is the lowest "
        "concurrency that gives 95 % of the best throughput. Frames of files go several to a "
        "request, those of cameras one by one.",
        "\n".join(verdicts),
        "## At the knee",
        _knees(curves),
        "## Where a request spends its time",
        _stages(curves),
        "## As cameras grow" if watched else "",
        _cameras(watched) if watched else "",
        "## All loads",
        _all(curves),
        *notes,
        "\n".join(f"![{plot.stem}]({plot.name})" for plot in plots),
        facts,
    ]
    text = "\n\n".join(part.strip() for part in parts if part)
    output.with_suffix(".md").write_text(text + "\n")


def judge(points: Sequence[Point]) -> dict[str, bool]:
    """Which targets were met, by the ensemble over shared memory."""
    verdicts = {}
    curves = series(points)
    for case, each in curves.items():
        if (case.topology, case.transport) != ("ensemble", "shm"):
            continue
        name = f"{case.model} {case.shape}, {_images(case.batch)} a request"
        point = knee(each)
        spread = point.p99_ms / point.p50_ms
        verdicts[
            f"{name}: p99 below {MAX_SPREAD:g} × p50 at the knee "
            f"({point.case.concurrency} in flight): {spread:.2f}"
        ] = spread < MAX_SPREAD
        local = curves.get(Case(model=case.model, shape=case.shape, topology=IN_PROCESS))
        if local:
            ratio = best(each) / best(local)
            verdicts[f"{name}: at least {MIN_RATIO:g} of the same work in process: {ratio:.3f}"] = (
                ratio >= MIN_RATIO
            )
    return verdicts


def best(points: Sequence[Point]) -> float:
    """The highest throughput of a series."""
    return max(point.frames_per_s for point in points)


def _beside(output: Path, name: str) -> Path:
    return output.with_name(f"{output.stem}-{name}.png")


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"


def _knees(curves: dict[Case, list[Point]]) -> str:
    head = (
        "model | input | topology | transport | images a request | best frames/s | of in process "
        "| knee | p50 ms | p99 ms | p99/p50 | CPU ms/frame"
    )
    rows = []
    for case, each in curves.items():
        local = curves.get(Case(model=case.model, shape=case.shape, topology=IN_PROCESS))
        ratio = f"{best(each) / best(local):.3f}" if local else "–"
        point = knee(each)
        rows.append(
            (
                *(case.model, case.shape, case.topology, case.transport, case.batch),
                *(f"{best(each):.1f}", ratio, point.case.concurrency),
                *(f"{point.p50_ms:.1f}", f"{point.p99_ms:.1f}"),
                *(f"{point.p99_ms / point.p50_ms:.2f}", _optional(point.cpu_ms)),
            )
        )
    return markdown(head, rows, left=(0, 1, 2, 3))


def _stages(curves: dict[Case, list[Point]]) -> str:
    head = (
        "topology | transport | images a request | part | queue ms | input ms | infer ms "
        "| output ms | images an execution"
    )
    rows = []
    for case, each in curves.items():
        for part, stage in knee(each).stages.items():
            times = [f"{stage[phase]:.2f}" for phase in PHASES]
            together = stage["pictures"] / max(1.0, stage["executions"])
            rows.append(
                (case.topology, case.transport, case.batch, part, *times, f"{together:.1f}")
            )
    return markdown(head, rows, left=(0, 1, 3))


def _cameras(points: Sequence[Point]) -> str:
    head = "cameras | frames/s each | answered/s | p50 ms | p99 ms | server's cores"
    rows = []
    for point in points:
        cores = None
        if point.cpu_ms is not None:
            cores = point.cpu_ms * point.frames_per_s / 1e3
        figures = (point.frames_per_s, point.p50_ms, point.p99_ms, cores)
        rows.append((point.case.cameras, f"{point.case.fps:g}", *map(_optional, figures)))
    return markdown(head, rows, left=())


def _all(curves: dict[Case, list[Point]]) -> str:
    head = (
        "topology | transport | input | images a request | in flight | frames/s | windows "
        "| p50 ms | p90 ms | p99 ms"
    )
    rows = [
        (
            *(case.topology, case.transport, case.shape, case.batch, point.case.concurrency),
            f"{point.frames_per_s:.1f}",
            ", ".join(f"{rate:.0f}" for rate in point.windows),
            *(f"{ms:.1f}" for ms in (point.p50_ms, point.p90_ms, point.p99_ms)),
        )
        for case, each in curves.items()
        for point in each
    ]
    return markdown(head, rows, left=(0, 1, 2, 6))


def _optional(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
