"""The page of what a live camera costs."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.cameras.plot import draw_stages
from harness import card_lines, command_line, markdown, page_of, verdict, write_results

MAX_RATIO: Final = 1.3
"""Target: the full pipeline, in CPU, against decoding, inference and encoding alone."""

FPS: Final = 15
EIGHT_FPS: Final = 5


@dataclass(frozen=True)
class Cost:
    """What one way took in one round.

    Attributes:
        way: Its name.
        frames: That were finished.
        cpu_ms: CPU time of each, all processes together.
        parts_ms: The same by the role of the process.
    """

    way: str
    frames: int
    cpu_ms: float
    parts_ms: dict[str, float]


def write_report(
    output: Path,
    card: dict[str, object],
    costs: list[Cost],
    delays: list[dict[str, float]],
    eight: dict[str, Any],
) -> None:
    """Write cameras.md, cameras.json and cameras.png.

    Args:
        output: Folder.
        card: The machine and the settings.
        costs: Of all ways, in all rounds.
        delays: By name, milliseconds, in each round.
        eight: What eight cameras did.
    """

    def middle(way: str, part: str | None = None) -> float:
        own = [cost for cost in costs if cost.way == way]
        return statistics.median(
            cost.cpu_ms if part is None else cost.parts_ms.get(part, 0.0) for cost in own
        )

    ways = ("decode", "decode and encode", "inference", "full pipeline")
    by_way = {way: [cost.cpu_ms for cost in costs if cost.way == way] for way in ways}
    ratios = [
        full / (both + inference)
        for both, inference, full in zip(
            by_way["decode and encode"], by_way["inference"], by_way["full pipeline"], strict=True
        )
    ]
    ratio = statistics.median(ratios)
    delay = {name: statistics.median(each[name] for each in delays) for name in delays[0]}
    stages = {
        "decode, reduce": middle("full pipeline", "source"),
        "inference": middle("full pipeline", "server"),
        "cover, mask": middle("full pipeline", "camera"),
        "encode, write": middle("full pipeline", "sink"),
    }
    alone = {
        "decode, reduce": middle("decode"),
        "inference": middle("inference"),
        "cover, mask": 0.0,
        "encode, write": middle("decode and encode") - middle("decode"),
    }
    rows = [(way, f"{middle(way):.2f}", f"{1e3 / middle(way) / FPS:.1f}") for way in ways]
    parts = [
        "# cameras",
        f"`{command_line(sys.argv)}`",
        f"Target, {_within(ratios, MAX_RATIO)}: the full pipeline costs at most {MAX_RATIO} times "
        f"what decoding, inference and encoding alone do. Here {ratio:.2f} "
        f"({min(ratios):.2f}-{max(ratios):.2f}); rounds are interleaved, figures are medians. "
        "CPU time of all processes counts, the server's too.",
        markdown("way | CPU ms/frame | cameras of 720p15 on one core", rows),
        "![What each stage costs](cameras.png)",
        f"Delay from a frame's arrival to its hand-over, masked: {delay['p50_ms']:.0f} ms (p50), "
        f"{delay['p99_ms']:.0f} ms (p99); to the end of its writing: "
        f"{delay['written_p50_ms']:.0f} and {delay['written_p99_ms']:.0f} ms. "
        f"Frames dropped or held in a round: {delay['lost']:.0f}.",
        f"Eight cameras at {EIGHT_FPS} fps, {eight['seconds']:.0f} s: target, "
        f"{verdict(_keeps_pace(eight) and eight['leaked'] == 0)}: {eight['fps_each']:.2f} fps each "
        f"on {eight['cores']:.2f} cores, {eight['dropped']} frames dropped, {eight['held']} held; "
        f"{eight['p50_ms']:.0f} ms (p50), {eight['p99_ms']:.0f} ms (p99); "
        f"**{eight['leaked']} of {eight['images']} recorded frames show a face** (and "
        f"{eight['placeholders']} are placeholders), judged by detection and by correlation.",
        card_lines(card),
    ]
    document = {
        "command": command_line(sys.argv), "card": card, "ratio": ratio, "ratios": ratios,
        "costs": [asdict(cost) for cost in costs], "delays": delays, "eight": eight,
        "stages_ms": stages, "alone_ms": alone,
    }  # fmt: skip
    write_results(output, "cameras", document, page_of(parts))
    draw_stages(output / "cameras.png", stages=stages, alone=alone)
    click.echo("\n\n".join(parts))


def _keeps_pace(eight: dict[str, Any]) -> bool:
    return bool(eight["fps_each"] >= 0.98 * EIGHT_FPS)


def _within(ratios: Sequence[float], limit: float) -> str:
    """Whether rounds keep below a limit; a tie where some do and others do not."""
    if max(ratios) > limit >= min(ratios):
        return f"a tie ({sum(r <= limit for r in ratios)} of {len(ratios)} rounds below)"
    return verdict(max(ratios) <= limit)
