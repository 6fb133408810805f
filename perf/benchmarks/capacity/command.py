"""How many cameras of 1080p a machine with a GPU holds, computed by stage from measured parts.

No such machine was at hand. What the CPU does of a frame is measured where this runs; what a GPU
does was measured on an H100 (`perf/run gpu`) or is published; the rest is division.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.capacity.machines import (
    MACHINES,
    NVDEC_FPS,
    NVENC_FPS,
    SESSION_MIB,
    Measured,
    by_stage,
)
from benchmarks.capacity.parts import SIZE, cpu_parts
from harness import card_lines, command_line, machine_card, markdown, page_of, write_results


@click.command("capacity")
@click.option(
    "--clip",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What is decoded and encoded, brought to 1080p.",
)
@click.option("--fps", default=15.0, show_default=True, help="Of each camera.")
@click.option("--frames", default=48, show_default=True, help="Measured on the CPU here.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=Path("perf/results"))
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def capacity(
    *, clip: Path, fps: float, frames: int, rounds: int, results: Path, output: Path
) -> None:
    """Cameras of 1080p a machine, by stage: measured parts, published figures, and division."""
    card = machine_card()
    rows, samples = cpu_parts(clip, frames, rounds)
    measured = _measured(rows, results)
    stages = [stage | {"gpu": m.gpu} for m in MACHINES for stage in by_stage(m, measured, fps)]
    document = {
        "command": command_line(sys.argv),
        "card": card | {"clip": clip.name, "fps": fps, "frame": f"{SIZE[0]} × {SIZE[1]}"},
        "published": {"nvdec_fps": NVDEC_FPS, "nvenc_fps": NVENC_FPS, "session_mib": SESSION_MIB},
        "measured": asdict(measured),
        "machines": [asdict(machine) for machine in MACHINES],
        "stages": stages,
        "samples": samples,
    }
    text = report(document)
    write_results(output, "capacity", document, text)
    click.echo(text)


def _measured(rows: dict[str, float], results: Path) -> Measured:
    """The CPU's parts, with what other benchmarks found."""
    gpu = json.loads((results / "gpu.json").read_text())
    cameras = json.loads((results / "cameras.json").read_text())
    points = [
        point
        for point in gpu["points"]
        if (point["case"]["model"], point["case"]["precision"]) == ("fast", "fp32")
        and point["case"]["runtime"] == "CUDA"
    ]
    whole = [cost["parts_ms"] for cost in cameras["costs"] if cost["way"] == "full pipeline"]
    return Measured(
        **{name: round(value, 3) for name, value in rows.items()},
        camera_ms=round(float(np.median([parts["camera"] for parts in whole])), 3),
        # Of cameras, whose frames come one by one; the least, since the others waited for plans.
        server_ms=round(min(p["cpu_ms"] for p in points if p["case"]["cameras"]), 3),
        images_per_s=max(point["frames_per_s"] for point in points),
        server_mib=min(
            server["gpu_memory_mib"]
            for server in gpu["servers"]
            if (server["network"], server["runtime"]) == ("fast", "CUDA")
        ),
    )


def report(document: dict[str, Any]) -> str:
    """The tables, as Markdown."""
    titles = {"cpu": "CPU", "detection": "detection", "nvdec": "NVDEC", "nvenc": "NVENC"}
    titles["gpu_memory"] = "GPU memory"
    machines = {machine["gpu"]: machine for machine in document["machines"]}
    rows = [
        (
            f"{stage['gpu']}, {machines[stage['gpu']]['cores']} cores",
            stage["way"],
            f"{stage['cpu_ms']:.1f}",
            *(stage.get(name, "–") for name in titles),
            f"**{stage['cameras']}** ({titles[stage['bound']]})",
        )
        for stage in document["stages"]
    ]
    head = " | ".join(
        ("machine", "who decodes and encodes", "CPU ms a frame", *titles.values(), "cameras")
    )
    parts = [
        "# Cameras a machine, computed",
        f"`{document['command']}`",
        "**Computed, not measured**: cameras of 1080p at "
        f"{document['card']['fps']:g} fps that each stage holds, and the least of them. The CPU's "
        "parts were measured on the machine below, a camera's own work and the server's in "
        "`cameras.json` and `gpu.json`. Detection is what the H100 gave, times the share of its "
        "FP32 rate or of its memory's, whichever is less. Each NVDEC engine counts as the T4's "
        f"({NVDEC_FPS:g} frames/s), each NVENC engine as one that gave {NVENC_FPS:g}; each process "
        f"that decodes takes {SESSION_MIB} MiB of the GPU.",
        markdown(head, rows, left=(0, 1)),
        "## What a frame takes of a core, milliseconds",
        markdown(
            "part | ms",
            [(k, f"{v:.2f}") for k, v in document["measured"].items() if k.endswith("_ms")],
        ),
        card_lines(document["card"]),
    ]
    return page_of(parts)
