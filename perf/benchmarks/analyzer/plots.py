"""The plots of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.analyzer.points import PHASES, Case, Point, knee

_WORK: Final = {"face_postprocess": "post-processing", "jpeg_letterbox": "JPEG"}
_COLOURS: Final = {
    "JPEG": "C4",
    "detector": "C0",
    "post-processing": "C1",
    "input and output": "C3",
    "queue": "lightgrey",
}


def plot_curves(path: Path, curves: Mapping[Case, Sequence[Point]]) -> None:
    """Latency over throughput, one line for each contender, one dot for each concurrency."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    for index, (case, points) in enumerate(curves.items()):
        rates = [point.frames_per_s for point in points]
        colour, style = f"C{index % 10}", "-" if index < 10 else "--"
        axes.plot(
            rates, [p.p50_ms for p in points], style, color=colour, marker="o", label=_name(case)
        )
        axes.plot(rates, [p.p99_ms for p in points], ":", color=colour, alpha=0.5)
    axes.set_xlabel("frames a second")
    axes.set_ylabel("latency of a request, ms: p50, and p99 dotted")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", frameon=False)
    figure.savefig(path, dpi=110)


def plot_stages(path: Path, curves: Mapping[Case, Sequence[Point]]) -> None:
    """Where an image's time goes on the server: under the least load, and at the knee."""
    served = {case: points for case, points in curves.items() if points[0].stages}
    figure = Figure(figsize=(11, 1.5 + 0.35 * len(served)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    chosen = {"fewest under way": [each[0] for each in served.values()]}
    chosen["at the knee"] = [knee(each) for each in served.values()]
    for axes, (title, points) in zip(panels, chosen.items(), strict=True):
        for row, point in enumerate(points):
            left = 0.0
            for name, value in _spent(point).items():
                axes.barh(row, value, left=left, color=_COLOURS[name])
                left += value
        axes.set_xlabel(f"ms of an image, {title}")
    panels[0].set_yticks(range(len(served)), [_name(case) for case in served])
    panels[0].invert_yaxis()
    bars = [Patch(color=colour, label=name) for name, colour in _COLOURS.items()]
    figure.legend(handles=bars, frameon=False, ncols=len(bars), loc="outside upper center")
    figure.savefig(path, dpi=110)


def plot_cameras(path: Path, points: Sequence[Point]) -> None:
    """Latency, and the server's cores, over the number of cameras."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    numbers = [point.case.cameras for point in points]
    for name in ("p50_ms", "p99_ms"):
        left.plot(numbers, [getattr(p, name) for p in points], marker="o", label=name[:3])
    left.set_ylabel("latency, ms")
    left.set_yscale("log")
    left.legend(frameon=False)
    right.plot(numbers, [p.frames_per_s for p in points], marker="o", label="answered")
    wanted = [p.case.cameras * p.case.fps for p in points]
    right.plot(numbers, wanted, "--", color="grey", label="sent")
    right.set_ylabel("frames a second")
    right.legend(frameon=False, loc="upper left")
    if all(point.cpu_ms is not None for point in points):
        cores = [(p.cpu_ms or 0) * p.frames_per_s / 1e3 for p in points]
        beside = right.twinx()
        beside.plot(numbers, cores, color="C3", marker="s")
        beside.set_ylabel("server's cores", color="C3")
        beside.set_ylim(bottom=0)
    for axes in (left, right):
        axes.set_xlabel(f"cameras at {points[0].case.fps:g} frames a second")
        axes.set_xticks(numbers)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _name(case: Case) -> str:
    words = [case.topology, case.transport if case.transport != "none" else ""]
    words += [f"{case.batch} a request" if case.batch > 1 else "", case.shape, case.model]
    return " ".join(word for word in words if word)


def _spent(point: Point) -> dict[str, float]:
    """Milliseconds of an image: waiting, copying, and the work of each part."""
    spent = dict.fromkeys(_COLOURS, 0.0)
    for part, stage in point.stages.items():
        each = {phase: stage[phase] / point.case.batch for phase in PHASES}
        spent["queue"] += each["queue"]
        spent["input and output"] += each["compute_input"] + each["compute_output"]
        spent[_WORK.get(part, "detector")] += each["compute_infer"]
    return spent
