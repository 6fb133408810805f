"""How much of a chosen person is seen where people meet, and whether anybody else is."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks.people.scenes import SCENES, people
from benchmarks.people.trial import Result, attempt
from faceblur.detection import models
from faceblur.detection.detector import Detector
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.repository import FAST_MODEL
from harness import command_line, machine_card, markdown


@click.command(name="people")
@click.option("--portrait", type=click.Path(path_type=Path), default="docs/images/before.jpg")
@click.option("--model", default=FAST_MODEL, show_default=True)
@click.option("--rate", "rates", multiple=True, default=(25.0, 10.0, 5.0), show_default=True)
@click.option("--seeds", default=2, show_default=True, help="Clips of each scene and rate.")
@click.option("--scene", "chosen", multiple=True, help="Only this one.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def run_people(
    *,
    portrait: Path,
    model: str,
    rates: tuple[float, ...],
    seeds: int,
    chosen: tuple[str, ...],
    output: Path,
) -> None:
    """Keep one of two people visible in made clips in which they meet; compare with the truth."""
    onnx, info = models.find(model)
    detector = InProcessDetector(onnx, model=info)
    try:
        results = _results(portrait, detector, rates=rates, seeds=seeds, chosen=chosen)
    finally:
        detector.close()
    card = machine_card() | {"model": info.name, "sha256": info.sha256, "seeds": seeds}
    document = {
        "command": command_line(sys.argv),
        "card": card,
        "scenes": {
            name: {f"{rate:g}": _figures(result) for rate, result in row.items()}
            for name, row in results.items()
        },
        "all": _figures(sum((r for row in results.values() for r in row.values()), Result())),
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "people.json").write_text(json.dumps(document, indent=1) + "\n")
    text = _report(document, rates)
    (output / "people.md").write_text(text)
    click.echo(text)


def _results(
    portrait: Path,
    detector: Detector,
    *,
    rates: tuple[float, ...],
    seeds: int,
    chosen: tuple[str, ...],
) -> dict[str, dict[float, Result]]:
    pair = people(portrait)
    results: dict[str, dict[float, Result]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for scene in SCENES:
            if chosen and scene.name not in chosen:
                continue
            for rate in rates:
                clips = (
                    attempt(scene, pair, detector, folder, rate=rate, seed=seed)
                    for seed in range(1, seeds + 1)
                )
                results.setdefault(scene.name, {})[rate] = sum(clips, Result())
            click.echo(f"{scene.name} done", err=True)
    return results


def _figures(result: Result) -> dict[str, Any]:
    share = result.seen / result.frames if result.frames else 0.0
    return {**asdict(result), "share": round(share, 3)}


def _report(document: dict[str, Any], rates: tuple[float, ...]) -> str:
    heads = " | ".join(f"seen at {rate:g} fps" for rate in rates)
    lines = [
        "# people",
        f"`{document['command']}`",
        "Two people meet. One is kept visible by every track that could show that one. `seen` is "
        "the share of the frames in which that one shows that are left unmasked; `others leaked` "
        "the frames in which the other one shows and less than 0.9 of the face is masked, and "
        "how many those are with nobody kept visible.",
        "",
    ]
    rows: list[tuple[object, ...]] = []
    for name, row in document["scenes"].items():
        shares = (f"{row[f'{rate:g}']['share']:.2f}" for rate in rates)
        leaked, before, others = (
            sum(figures[key] for figures in row.values())
            for key in ("leaked", "leaked_before", "others")
        )
        rows.append((name, *shares, f"{leaked} of {others}", before))
    whole = document["all"]
    leaked = f"**{whole['leaked']} of {whole['others']}**"
    empty = [""] * len(rates[1:])
    rows.append(("**all**", f"{whole['share']:.2f}", *empty, leaked, whole["leaked_before"]))
    table = markdown(f"scene | {heads} | others leaked | with nobody kept", rows)
    facts = [f"- {key}: {value}" for key, value in document["card"].items()]
    return "\n\n".join(lines[:3]) + "\n\n" + table + "\n\n" + "\n".join(facts) + "\n"
