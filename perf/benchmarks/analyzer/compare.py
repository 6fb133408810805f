"""Two runs side by side: of perf/run analyzer, of perf/run gpu, or one of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.analyzer.points import Case, Point, medians
from benchmarks.analyzer.report import KIND
from faceblur.errors import FaceblurError, InputError
from harness import markdown

KINDS: Final = (KIND, "gpu")
"""What the files of both benchmarks call themselves."""

MACHINE: Final = ("processor", "cores", "gpu", "machine")
"""Facts of the card that must be the same for figures to be compared."""

OTHER: Final = (
    "model",
    "sha256",
    "precision",
    "triton",
    "backend",
    "instance_groups",
    "threads",
    "perf_analyzer",
    "python",
)


@dataclass(frozen=True)
class Run:
    """A run, as its JSON file tells it.

    Attributes:
        name: Of the file.
        card: Machine, versions, model.
        points: One for each load.
    """

    name: str
    card: Mapping[str, Any]
    points: tuple[Point, ...]

    @classmethod
    def read(cls, path: Path) -> Run:
        """Read a file that `perf/run analyzer` or `perf/run gpu` wrote.

        Raises:
            InputError: It is none.
        """
        try:
            document = json.loads(path.read_text())
            if document["kind"] not in KINDS or not isinstance(document["card"], dict):
                raise KeyError("kind")
            points = tuple(Point.from_plain(point) for point in document["points"])
            return cls(path.name, document["card"], points)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no run of: perf/run analyzer, perf/run gpu") from error


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--across-machines", is_flag=True, help="Compare runs of different machines.")
def compare(*, first: Path, second: Path, across_machines: bool) -> None:
    """Set the runs FIRST and SECOND side by side.

    They are JSON files of `perf/run analyzer` and `perf/run gpu`. Ratios are of the second to the
    first.
    """
    try:
        click.echo(side_by_side(Run.read(first), Run.read(second), across_machines=across_machines))
    except FaceblurError as error:
        raise click.ClickException(str(error)) from error


def side_by_side(first: Run, second: Run, *, across_machines: bool = False) -> str:
    """Both runs as Markdown.

    Args:
        first: What the ratios are against.
        second: What is compared.
        across_machines: Compare even what different machines measured.

    Raises:
        InputError: Different machines measured, or nothing that both did.
    """
    apart = [key for key in MACHINE if first.card.get(key) != second.card.get(key)]
    if apart and not across_machines:
        facts = "; ".join(
            f"{key}: {first.card.get(key, 'none')} and {second.card.get(key, 'none')}"
            for key in apart
        )
        raise InputError(
            f"the runs are of different machines ({facts}); measure both on one, or add "
            "--across-machines"
        )
    ours, theirs = medians(first.points), medians(second.points)
    both = list(_pairs(ours, theirs))
    if not both:
        raise InputError("the runs have no load in common; measure both with the same options")
    lines = [f"A: {first.name}, {first.card.get('date')}"]
    lines += [f"B: {second.name}, {second.card.get('date')}", ""]
    if apart:
        lines += ["**Different machines: a ratio reflects them too.**", ""]
    lines += _facts(first, second, keys=(*MACHINE, *OTHER))
    head = (
        "network | topology | transport | input | images a request | in flight | A frames/s "
        "| B frames/s | B/A | p50 B/A | p99 B/A | CPU ms/frame B/A"
    )
    lines.append(markdown(head, [_row(*pair) for pair in both], left=(0, 1, 2, 3)))
    met = {_key(one.case) for one, _ in both}
    for name, points in (("A", theirs), ("B", ours)):
        if missing := {_key(point.case) for point in points} - met:
            lines += ["", f"{len(missing)} loads are missing from {name}."]
    return "\n".join(lines)


def _pairs(first: Sequence[Point], second: Sequence[Point]) -> Iterator[tuple[Point, Point]]:
    """Points of the same load; of several networks the same one, if it can be, likewise how it ran.

    A network that one run has in one precision is set beside each that the other has.
    """
    for one in first:
        others = [other for other in second if _key(other.case) == _key(one.case)]
        for fields in (("model",), ("precision", "runtime")):
            same = [o for o in others if all(_same(one, o, name) for name in fields)]
            others = same or others
        yield from ((one, other) for other in others)


def _same(one: Point, other: Point, name: str) -> bool:
    return bool(getattr(one.case, name) == getattr(other.case, name))


def _key(case: Case) -> Case:
    """What makes a load the same in both runs: what is asked may differ."""
    return Case(**{**asdict(case), "model": "", "precision": "", "runtime": ""})


def _facts(first: Run, second: Run, *, keys: tuple[str, ...]) -> list[str]:
    different = [key for key in keys if first.card.get(key) != second.card.get(key)]
    lines = [f"- {key}: {first.card.get(key)} → {second.card.get(key)}" for key in different]
    return [*lines, ""] if lines else []


def _what(case: Case) -> str:
    return " ".join(word for word in (case.model, case.precision, case.runtime) if word)


def _row(one: Point, other: Point) -> tuple[object, ...]:
    case = one.case
    load = f"{case.cameras} cameras" if case.cameras else str(case.concurrency)
    cpu = "–"
    if one.cpu_ms and other.cpu_ms:
        cpu = f"{other.cpu_ms / one.cpu_ms:.2f}"
    names = dict.fromkeys((_what(case), _what(other.case)))
    return (
        *(" → ".join(names), case.topology, case.transport, case.shape, case.batch, load),
        *(f"{one.frames_per_s:.1f}", f"{other.frames_per_s:.1f}"),
        f"{other.frames_per_s / one.frames_per_s:.2f}",
        *(f"{other.p50_ms / one.p50_ms:.2f}", f"{other.p99_ms / one.p99_ms:.2f}", cpu),
    )
