"""Measure contenders side by side: interleaved rounds in one run, ratios instead of seconds."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: What the tables call it.
        work: Does the work once; called in turn with the others'.
        pids: Processes that work for it beside this one, for CPU time.
    """

    name: str
    work: Callable[[], None]
    pids: Callable[[], Sequence[int]] = field(default=lambda: ())


@dataclass(frozen=True)
class Sample:
    """One round of one contender.

    Attributes:
        contender: Its name.
        wall_s: Seconds by the clock.
        cpu_s: Seconds of CPU, of this process and of the contender's others.
    """

    contender: str
    wall_s: float
    cpu_s: float


def interleave(contenders: Sequence[Contender], *, rounds: int, warm_up: int = 1) -> list[Sample]:
    """Run A B C A B C …, so that a machine whose speed drifts is as unfair to each.

    Args:
        contenders: The first is the baseline.
        rounds: Counted rounds.
        warm_up: Rounds before, not counted.
    """
    samples = []
    for index in range(warm_up + rounds):
        # Every other round runs backwards: nobody always follows the same neighbour.
        for contender in contenders if index % 2 else reversed(contenders):
            sample = _measure(contender)
            if index >= warm_up:
                samples.append(sample)
    return samples


@dataclass(frozen=True)
class Row:
    """One contender against the baseline.

    Attributes:
        contender: Its name.
        units_per_s: Median over the rounds.
        cpu_ms_per_unit: Median over the rounds.
        speed_ratio: Median over the rounds of its speed to the baseline's in the same round.
        speed_ratio_low: The lowest of them.
        speed_ratio_high: The highest of them.
    """

    contender: str
    units_per_s: float
    cpu_ms_per_unit: float
    speed_ratio: float
    speed_ratio_low: float
    speed_ratio_high: float


def summarise(
    contenders: Sequence[Contender], samples: Sequence[Sample], *, units: int
) -> list[Row]:
    """Compare each contender with the first.

    Args:
        contenders: As given to `interleave`.
        samples: What it gave back.
        units: Frames (or whatever is counted) in one round.
    """
    by_name = {c.name: [s for s in samples if s.contender == c.name] for c in contenders}
    baseline = by_name[contenders[0].name]
    rows = []
    for name, own in by_name.items():
        ratios = [b.wall_s / s.wall_s for b, s in zip(baseline, own, strict=True)]
        rows.append(
            Row(
                contender=name,
                units_per_s=statistics.median(units / s.wall_s for s in own),
                cpu_ms_per_unit=statistics.median(s.cpu_s / units * 1e3 for s in own),
                speed_ratio=statistics.median(ratios),
                speed_ratio_low=min(ratios),
                speed_ratio_high=max(ratios),
            )
        )
    return rows


def machine_card() -> dict[str, object]:
    """What a figure depends on: processor, cores, system, versions."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def command_line(argv: Sequence[str]) -> str:
    """The command that was typed, to run it again.

    Files outside the folder it was run in are named without their folders.
    """
    here = Path.cwd()
    words = []
    for word in argv:
        path = Path(word)
        if path.is_absolute():
            word = str(path.relative_to(here)) if path.is_relative_to(here) else path.name
        words.append(word)
    return shlex.join(words)


def family(pid: int | None) -> list[int]:
    """A process and its children, for the CPU time that they take."""
    if pid is None:
        return []
    # Each thread lists those it started itself.
    lists = Path("/proc", str(pid), "task").glob("*/children")
    return [pid, *(int(child) for children in lists for child in children.read_text().split())]


def markdown(head: str, rows: Iterable[Sequence[object]], *, left: Sequence[int] = (0,)) -> str:
    """A Markdown table.

    Args:
        head: Titles of the columns, with ` | ` between them.
        rows: What each row holds.
        left: Columns of words; the others are of numbers, aligned right.
    """
    columns = len(head.split(" | "))
    marks = ["---" if column in left else "---:" for column in range(columns)]
    lines = [f"| {head} |", f"|{'|'.join(marks)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def table(rows: Sequence[Row], *, unit: str) -> str:
    """The rows as a Markdown table."""
    head = f"contender | {unit}/s | CPU ms/{unit[:-1]} | speed against the first | lowest-highest"
    cells = [
        (
            row.contender,
            f"{row.units_per_s:.1f}",
            f"{row.cpu_ms_per_unit:.1f}",
            f"{row.speed_ratio:.3f}",
            f"{row.speed_ratio_low:.3f}-{row.speed_ratio_high:.3f}",
        )
        for row in rows
    ]
    return markdown(head, cells) + "\n"


def card_lines(card: Mapping[str, object]) -> str:
    """What figures depend on, as a list in Markdown."""
    return "\n".join(f"- {key}: {value}" for key, value in card.items())


def verdict(is_met: bool) -> str:
    """Whether a target was met, in Markdown."""
    return "met" if is_met else "**missed**"


def page_of(parts: Iterable[str]) -> str:
    """A page of Markdown of its paragraphs; empty ones are left out."""
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def write_results(folder: Path, name: str, document: Mapping[str, object], page: str) -> None:
    """Write NAME.json, for programs, and NAME.md, for people."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / f"{name}.md").write_text(page)


def save(
    folder: Path,
    name: str,
    *,
    rows: Sequence[Row],
    samples: Sequence[Sample],
    card: dict[str, object],
    unit: str,
    notes: Sequence[str] = (),
) -> None:
    """Write NAME.json (all samples and the card) and NAME.md (the table).

    Args:
        folder: Where to.
        name: Of the benchmark.
        rows: As from `summarise`.
        samples: What they were made of.
        card: The machine and the settings.
        unit: What was counted, in the plural.
        notes: Sentences that stand before the table.
    """
    document = {
        "command": command_line(sys.argv),
        "notes": list(notes),
        "card": card,
        "rows": [asdict(row) for row in rows],
        "samples": [asdict(sample) for sample in samples],
    }
    facts = card_lines(card)
    parts = [f"# {name}", f"`{command_line(sys.argv)}`", *notes, table(rows, unit=unit), facts]
    write_results(folder, name, document, page_of(parts))


def _measure(contender: Contender) -> Sample:
    pids = contender.pids()
    cpu = time.process_time() + cpu_s(pids)
    wall = time.perf_counter()
    contender.work()
    wall = time.perf_counter() - wall
    cpu = time.process_time() + cpu_s(pids) - cpu
    return Sample(contender.name, wall, cpu)


def cpu_s(pids: Sequence[int]) -> float:
    """Seconds of CPU that processes took so far."""
    ticks = 0
    for pid in pids:
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
