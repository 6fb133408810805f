"""How many faces flash through: cover over time against single frames, and against deface."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import av
import click

from benchmarks.coverage.bench import Bench, Clip
from benchmarks.coverage.clips import ClipMaker, Truth
from benchmarks.coverage.labels import label, min_agreeing, open_detectors, passes
from benchmarks.coverage.report import write_report
from benchmarks.coverage.scenarios import RATE, SCENARIOS
from benchmarks.coverage.score import Face
from benchmarks.coverage.videos import read_clip, write_clip
from faceblur.detection import models
from faceblur.detection.detector import Detector
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.image.pixels import BgrImage
from faceblur.tracking import TrackingOptions
from faceblur.tracking.live import LIVE_OPTIONS
from harness import command_line, machine_card

HELD_OUT: int = 2
"""Seeds below this were used to develop the tracker."""


@click.command()
@click.argument("real", nargs=-1, metavar="[CLIP[@SECONDS]]...")
@click.option("--portrait", type=click.Path(path_type=Path), default="docs/images/before.jpg")
@click.option("--model", default=models.automatic_model("video"), show_default=True)
@click.option("--judge", "judges", multiple=True, help="Another model for the pseudo-labels.")
@click.option("--deface", type=click.Path(path_type=Path, exists=True), help="Its executable.")
@click.option("--scenario", "chosen", multiple=True, help="Only this one.")
@click.option("--frames", default=90, show_default=True, help="Of each clip.")
@click.option("--real-frames", default=72, show_default=True, help="Of each real clip.")
@click.option("--first-seed", default=HELD_OUT, show_default=True)
@click.option("--seeds", default=3, show_default=True, help="Clips of each scenario.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def coverage(
    *,
    real: tuple[str, ...],
    portrait: Path,
    model: str,
    judges: tuple[str, ...],
    deface: Path | None,
    chosen: tuple[str, ...],
    frames: int,
    real_frames: int,
    first_seed: int,
    seeds: int,
    output: Path,
) -> None:
    """Faces that leak from moving-face videos with exact ground truth, and from real CLIPs."""
    excerpts = [_excerpt(text, frames=real_frames) for text in real]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        detectors = open_detectors((model, *judges), stack)
        card = machine_card() | {
            "model": detectors[0].model.name,
            "sha256": detectors[0].model.sha256,
            "size": DEFAULT_SIZE,
            "threshold": DEFAULT_THRESHOLD,
            "cover": asdict(TrackingOptions()),
            "live": asdict(LIVE_OPTIONS),
            "deface": _version(deface),
            "frames": frames,
            "real_frames": real_frames,
            "seeds": list(range(first_seed, first_seed + seeds)),
        }
        bench = Bench(detectors[0], deface, folder)
        exact = bench.run(
            _exact(portrait, folder, chosen, frames=frames, seeds=(first_seed, seeds))
        )
        pseudo = bench.run(_labelled(excerpt, detectors, folder) for excerpt in excerpts)
    names = [detector.model.name for detector in detectors]
    write_report(
        output,
        card=card,
        command=command_line(sys.argv),
        exact=exact,
        pseudo=pseudo,
        passes=passes(names),
        agreeing=min_agreeing(len(names)),
    )
    click.echo((output / "coverage.md").read_text())


def _exact(
    portrait: Path, folder: Path, chosen: tuple[str, ...], *, frames: int, seeds: tuple[int, int]
) -> Iterator[Clip]:
    maker = ClipMaker(portrait)
    for scenario in SCENARIOS:
        if chosen and scenario.name not in chosen:
            continue
        for seed in range(seeds[0], sum(seeds)):
            path = folder / "drawn.mp4"
            drawn = list(maker.frames(scenario, count=frames, seed=seed))
            write_clip(path, (image for image, _ in drawn))
            yield Clip(scenario.name, path, list(faces_of([truth for _, truth in drawn])))


def faces_of(truths: list[Truth]) -> Iterator[list[Face]]:
    """The face of each frame; it appears again behind a cut, and when it comes back."""
    appearance = 0
    last: Truth | None = None
    for truth in truths:
        if truth.counts and (last is None or not last.counts or last.shot != truth.shot):
            appearance += 1
        last = truth
        yield [Face(truth.visible, truth.ellipse, appearance)] if truth.counts else []


@dataclass(frozen=True)
class _Excerpt:
    """Some consecutive frames of a file."""

    path: Path
    start_s: float
    frames: int

    @property
    def name(self) -> str:
        return self.path.stem + (f" from {self.start_s:g} s" if self.start_s else "")


def _excerpt(text: str, *, frames: int) -> _Excerpt:
    name, _, start = text.partition("@")
    path = Path(name)
    if not path.is_file():
        raise click.BadParameter(f"{name} is not a file")
    return _Excerpt(path, float(start or 0), frames)


def _labelled(excerpt: _Excerpt, judges: list[Detector], folder: Path) -> Clip:
    """A part of a real clip, with pseudo-labels."""
    with av.open(str(excerpt.path)) as container:
        rate = float(container.streams.video[0].average_rate or RATE)
    start = round(excerpt.start_s * rate)
    images = islice(read_clip(excerpt.path), start, start + excerpt.frames)
    target = folder / "real.mp4"
    write_clip(target, map(_even, images), rate=round(rate))
    return Clip(excerpt.name, target, list(label(read_clip(target), judges)))


def _even(image: BgrImage) -> BgrImage:
    height, width = image.shape[:2]
    return image[: height // 2 * 2, : width // 2 * 2]


def _version(deface: Path | None) -> str | None:
    if deface is None:
        return None
    done = subprocess.run([str(deface), "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
