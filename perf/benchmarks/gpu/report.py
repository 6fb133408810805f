"""The page of a run: tables, the card, plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from benchmarks.analyzer.points import Case, Point, knee, medians
from benchmarks.gpu.results import Results
from harness import card_lines, markdown, page_of

_READING: Final = """\
`without a server` is the network alone, called in one thread, with the copies to the GPU and
back; behind Triton come gRPC, shared memory, batching, decoding and suppression. Latencies are of
a request. A camera sends model inputs at its own pace; so many are held as had p99 below the time
of a frame and at least 98 % of their frames answered, found to five in a hundred.
"""

_ELSEWHERE: Final = """\
As others published it: levipereira/triton-server-yolo, RTX 4090, YOLOv7 at 640 pixels: 266 infer/s
with one request in flight, 1,094 at most. Savant with face blur, 720p from end to end: 430 frames/s
on an RTX A4000, 117 on an Orin Nano.
"""

Curves = dict[tuple[str, str, str, int], list[Point]]
"""Points by network, precision, runtime and images a request; fewest in flight first."""


def write_page(results: Results) -> None:
    """Write OUTPUT.md and, of what was served, OUTPUT.png."""
    curves = curves_of(results.points)
    page = results.output.with_suffix(".md")
    plot = results.output.with_suffix(".png")
    if curves:
        draw(plot, curves, results)
    facts = card_lines(results.card)
    parts = [
        f"# {page.stem}",
        f"`{results.command}`",
        _READING,
        "## The same faces as the CPU in FP32",
        _agreement(results),
        "## Without a server",
        _raw(results),
        "## Behind Triton",
        _served(curves),
        _ELSEWHERE,
        "## Cameras that one server holds",
        _cameras(results),
        "## Servers",
        _servers(results),
        "\n".join(f"- {note}" for note in results.notes),
        f"![{plot.stem}]({plot.name})" if curves else "",
        facts,
    ]
    page.write_text(page_of(parts))


def curves_of(points: Sequence[Point]) -> Curves:
    """Group the points of a run that differ in requests under way alone."""
    curves: Curves = {}
    for point in medians(points):
        if not point.case.cameras:
            curves.setdefault(_key(point.case), []).append(point)
    return {key: sorted(each, key=lambda p: p.case.concurrency) for key, each in curves.items()}


def _key(case: Case) -> tuple[str, str, str, int]:
    return case.model, case.precision, case.runtime, case.batch


def _agreement(results: Results) -> str:
    head = (
        "network | precision | by | images | faces | missed | added | box px | landmark px | score"
    )
    rows = [
        (a.network, a.precision, a.runtime, a.images, a.faces, a.missed, a.added,
         f"{a.box_px:.2f}", f"{a.landmark_px:.2f}", f"{a.score:.3f}")
        for a in results.agreements
    ]  # fmt: skip
    text = "Largest differences of what both found, in pixels of the model input."
    return markdown(head, rows, left=(0, 1, 2)) + "\n\n" + text


def _raw(results: Results) -> str:
    head = "network | precision | by | images a run | images/s | ms a run"
    rows = [
        (r.network, r.precision, r.runtime, r.batch, f"{r.images_per_s:.0f}", f"{r.ms:.2f}")
        for r in results.raw
    ]
    return markdown(head, rows, left=(0, 1, 2))


def _served(curves: Curves) -> str:
    head = (
        "network | precision | by | images a request | in flight | infer/s | p50 ms | p99 ms "
        "| CPU ms an image"
    )
    rows = [
        (*key, p.case.concurrency, f"{p.frames_per_s:.0f}", f"{p.p50_ms:.1f}", f"{p.p99_ms:.1f}",
         "–" if p.cpu_ms is None else f"{p.cpu_ms:.2f}")
        for key, points in curves.items()
        for p in points
    ]  # fmt: skip
    return markdown(head, rows, left=(0, 1, 2))


def _cameras(results: Results) -> str:
    head = "network | precision | by | frames/s each | held | p99 ms | not held"
    rows = [
        (h.network, h.precision, h.runtime, f"{h.fps:g}", h.cameras,
         "–" if h.p99_ms is None else f"{h.p99_ms:.1f}", "–" if h.refused is None else h.refused)
        for h in results.held
    ]  # fmt: skip
    return markdown(head, rows, left=(0, 1, 2))


def _servers(results: Results) -> str:
    head = (
        "network | precision | by | instances | ready after s | GPU memory MiB | GPU busy % "
        "| power W | clock MHz"
    )
    keys = ("gpu_memory_mib", "gpu_utilisation_percent", "gpu_power_w", "gpu_clock_mhz")
    rows = [
        (s["network"], s["precision"], s["runtime"], s["instances"], s["ready_s"],
         *(f"{s[key]:.0f}" if key in s else "–" for key in keys))
        for s in results.servers
    ]  # fmt: skip
    return markdown(head, rows, left=(0, 1, 2))


def draw(path: Path, curves: Curves, results: Results) -> None:
    """Draw latency over throughput, and alone beside behind Triton."""
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, ((network, precision, runtime, batch), points) in enumerate(curves.items()):
        rates = [point.frames_per_s for point in points]
        label = f"{network} {precision} {runtime}" + (f", {batch} a request" if batch > 1 else "")
        colour = f"C{index % 10}"
        left.plot(rates, [p.p50_ms for p in points], "o-", color=colour, label=label)
        left.plot(rates, [p.p99_ms for p in points], ":", color=colour, alpha=0.6)
    left.set_xlabel("images a second behind Triton")
    left.set_ylabel("latency of a request, ms: p50, and p99 dotted")
    left.set_xscale("log")
    left.set_yscale("log")
    left.grid(alpha=0.3)
    left.legend(fontsize="x-small", frameon=False)
    names = list(dict.fromkeys((r.network, r.precision, r.runtime) for r in results.raw))
    alone = [max(r.images_per_s for r in results.raw if _of(r) == name) for name in names]
    served = [
        max((knee(ps).frames_per_s for key, ps in curves.items() if key[:3] == name), default=0)
        for name in names
    ]
    rows = range(len(names))
    right.barh([r - 0.2 for r in rows], alone, 0.4, label="without a server")
    right.barh([r + 0.2 for r in rows], served, 0.4, label="behind Triton, at the knee")
    right.set_yticks(list(rows), [" ".join(name) for name in names], fontsize="x-small")
    right.invert_yaxis()
    right.set_xscale("log")
    right.set_xlabel("images a second")
    right.legend(fontsize="x-small", frameon=False)
    figure.savefig(path, dpi=110)


def _of(raw: object) -> tuple[str, str, str]:
    return tuple(getattr(raw, key) for key in ("network", "precision", "runtime"))  # type: ignore[return-value]
