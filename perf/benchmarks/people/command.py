"""How much of a chosen person is seen where people meet, and whether anybody else is."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks.coverage.passers import Person
from benchmarks.people.real import RealFigures, keepable
from benchmarks.people.scenes import SCENES, pairs
from benchmarks.people.trial import Result, attempt
from faceblur.detection import models
from faceblur.detection.detector import Detector
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.repository import FAST_MODEL
from harness import command_line, machine_card, markdown, write_results


@click.command(name="people")
@click.argument("clips", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--labelled", "folders", type=click.Path(path_type=Path), multiple=True,
              help="Photographs with labelled faces, to cut people out of.")  # fmt: skip
@click.option("--pairs", "count", default=4, show_default=True, help="Of people, in turn.")
@click.option("--portrait", type=click.Path(path_type=Path), default="docs/images/before.jpg")
@click.option("--model", default=FAST_MODEL, show_default=True)
@click.option("--rate", "rates", multiple=True, default=(25.0, 10.0, 5.0), show_default=True)
@click.option("--seeds", default=4, show_default=True, help="Clips of each scene and rate.")
@click.option("--scene", "chosen", multiple=True, help="Only this one.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def run_people(
    *,
    clips: tuple[Path, ...],
    folders: tuple[Path, ...],
    count: int,
    portrait: Path,
    model: str,
    rates: tuple[float, ...],
    seeds: int,
    chosen: tuple[str, ...],
    output: Path,
) -> None:
    """Keep one of two people visible in made clips in which they meet; compare with the truth.

    Of real CLIPS, which have no truth, it says how much could be kept.
    """
    onnx, info = models.find(model)
    detector = InProcessDetector(onnx, model=info)
    try:
        casts = pairs(portrait, folders, count if folders else 1)
        results = _results(casts, detector, rates=rates, seeds=seeds, chosen=chosen)
        real = {clip.name: keepable(clip, detector) for clip in clips}
    finally:
        detector.close()
    card = machine_card() | {"model": info.name, "sha256": info.sha256, "seeds": seeds}
    card["pairs"] = len(casts)
    document = {
        "command": command_line(sys.argv),
        "card": card,
        "scenes": {
            name: {f"{rate:g}": _figures(result) for rate, result in row.items()}
            for name, row in results.items()
        },
        "all": _figures(sum((r for row in results.values() for r in row.values()), Result())),
        "real": {name: asdict(figures) for name, figures in real.items()},
    }
    text = _report(document, rates)
    write_results(output, "people", document, text)
    click.echo(text)


def _results(
    casts: Sequence[tuple[Person, Person]],
    detector: Detector,
    *,
    rates: tuple[float, ...],
    seeds: int,
    chosen: tuple[str, ...],
) -> dict[str, dict[float, Result]]:
    results: dict[str, dict[float, Result]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for scene in SCENES:
            if chosen and scene.name not in chosen:
                continue
            for rate in rates:
                clips = (
                    attempt(
                        scene, casts[seed % len(casts)], detector, folder, rate=rate, seed=seed + 1
                    )
                    for seed in range(seeds)
                )
                results.setdefault(scene.name, {})[rate] = sum(clips, Result())
            click.echo(f"{scene.name} done", err=True)
    return results


def _figures(result: Result) -> dict[str, Any]:
    share = result.seen / result.frames if result.frames else 0.0
    return {**asdict(result), "share": round(share, 3)}


def _report(document: dict[str, Any], rates: tuple[float, ...]) -> str:
    heads = [f"seen at {rate:g} fps" for rate in rates]
    rows = []
    for name, row in [*document["scenes"].items(), ("**all**", {"": document["all"]})]:
        shares = [f"{figures['share']:.2f}" for figures in row.values()]
        leaked, missed, others = (
            sum(figures[key] for figures in row.values()) for key in ("leaked", "missed", "others")
        )
        shares += [""] * (len(rates) - len(shares))
        rows.append((name, *shares, f"{leaked} of {others}", missed))
    lines = [
        "# people",
        f"`{document['command']}`",
        "Two people meet. One is kept visible by every track that could show that one. `seen` is "
        "the share of the frames in which that one shows that are left unmasked; `leaked` the "
        "frames in which the other one shows and less than 0.9 of the face is masked, but would be "
        "if nobody were kept, of all; `missed` those in which it would not be either, as the "
        "detector found nothing.",
        markdown(" | ".join(["scene", *heads, "leaked", "missed"]), rows, left=(0,)),
    ]
    if document["real"]:
        lines += [
            "What could be kept in real clips, if everybody were, and if each were alone: the "
            "share of the frames in which a face was found well.",
            markdown(
                "clip | frames | found well | keepable | alone | cards | tracks",
                [
                    (name, *(real[key] for key in RealFigures.SHOWN))
                    for name, real in document["real"].items()
                ],
                left=(0,),
            ),
        ]
    facts = [f"- {key}: {value}" for key, value in document["card"].items()]
    return "\n\n".join([*lines, "\n".join(facts)]) + "\n"
