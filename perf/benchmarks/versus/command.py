"""Side by side with deface: the same videos on the same cores, from file to file."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import numpy as np

from benchmarks.pans import film
from benchmarks.versus.clips import Excerpt, Format, make_clip, make_slides
from benchmarks.versus.process import Usage, measure
from benchmarks.versus.programs import BACKENDS, OURS, Command, Program, programs, version
from benchmarks.versus.report import Result, write_report
from benchmarks.versus.score import MIN_AGREEING, MIN_SCORE, SIZES, Labels, Masked, label, score
from faceblur.detection import models
from faceblur.detection.detector import ModelInfo
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.errors import FaceblurError
from faceblur_export.data.formats import read_folder
from harness import command_line, machine_card

VIEW: Final = (1920, 1080)
"""What pans show of the photographs: their faces are then 16 to 48 pixels high for a network."""

PAN: Final = (1280, 720)
PAN_SPEED: Final = 100
PAN_FRAMES: Final = 60


def _formats(
    _context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]
) -> list[Format]:
    formats = []
    for text in texts:
        height, _, frames = text.partition(":")
        if not height.isdigit() or not frames.isdigit() or int(height) % 18 or int(frames) < 2:
            raise click.BadParameter(f"{text} is not like 720:300 (lines:frames)")
        formats.append(Format(int(height) * 16 // 9, int(height), int(frames)))
    return formats


@click.command()
@click.argument("clips", nargs=-1, required=True, metavar="CLIP[@SECONDS]...")
@click.option(
    "--deface",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="DEFACE",
    show_envvar=True,
    required=True,
    help="Its executable.",
)
@click.option(
    "--backend",
    "backends",
    type=click.Choice(tuple(BACKENDS)),
    multiple=True,
    default=tuple(BACKENDS),
    show_default=True,
    help="What deface runs its network with.",
)
@click.option(
    "--format",
    "formats",
    callback=_formats,
    multiple=True,
    default=("720:300", "1080:120"),
    metavar="LINES:FRAMES",
    show_default=True,
    help="Height and length of a clip.",
)
@click.option(
    "--labelled",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    metavar="FOLDER",
    help="Images whose faces people listed: mask them, and pans over them, too.",
)
@click.option("--rounds", default=2, show_default=True, help="Of each program on each clip.")
@click.option("--judge", default="yolov5n-0.5-face", show_default=True, help="Makes the labels.")
@click.option("--label-every", default=3, show_default=True, help="Label one frame of so many.")
@click.option("--cores", help="CPUs to run on, such as 0,1. [all]")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def versus(
    *,
    clips: tuple[str, ...],
    deface: Path,
    backends: tuple[str, ...],
    formats: Sequence[Format],
    labelled: tuple[Path, ...],
    rounds: int,
    judge: str,
    label_every: int,
    cores: str | None,
    output: Path,
) -> None:
    """Compare `faceblur blur` with deface on CLIPs, shown one after the other.

    Speed, CPU time and memory of everything that each starts, and the faces that are masked in
    what comes out. Rounds are interleaved.
    """
    excerpts = [Excerpt.parse(text) for text in clips]
    try:
        judge_model = models.find(judge)
    except FaceblurError as error:
        raise click.ClickException(str(error)) from error
    allowed = sorted(map(int, cores.split(",")) if cores else os.sched_getaffinity(0))
    card = machine_card() | {"cores": allowed, "deface": version(deface)}
    with tempfile.TemporaryDirectory() as name:
        bench = _Bench(Path(name), allowed, deface, backends, excerpts)
        results = []
        for format_ in formats:
            clip = bench.folder / f"{format_.name}.mp4"
            make_clip(clip, excerpts, format_)
            results.append(bench.measure(clip, format_, rounds=rounds))
            _score(results[-1], clip, bench, judge_model, every=label_every)
        listed = {f"the images of {folder.name}": bench.slides(folder) for folder in labelled}
        listed |= {f"pans over {folder.name}": bench.pan(folder) for folder in labelled}
    _, model = models.find(models.automatic_model("video"))
    card |= {
        "backends of deface": backends,
        "model": model.name,
        "sha256": model.sha256,
        "detector": bench.detector,
        "size": DEFAULT_SIZE,
        "threshold": DEFAULT_THRESHOLD,
        "clips": [excerpt.name for excerpt in excerpts],
        "rounds": rounds,
        "labels": f"{judge} at {', '.join(map(str, SIZES))}, plain and mirrored, "
        f"scores from {MIN_SCORE}; {MIN_AGREEING} "
        f"of {2 * len(SIZES)} agree; one frame of {label_every}, and seen in the one before or "
        "after",
    }
    write_report(output, results=results, listed=listed, card=card, command=command_line(sys.argv))
    click.echo((output / "versus.md").read_text())


@dataclass
class _Bench:
    """Runs the programs.

    Attributes:
        folder: For what comes and goes.
        cores: The CPUs to run on.
        deface: Its executable.
        backends: What deface runs its network with.
        excerpts: What clips are made of.
        detector: What ours ran its network with.
        outputs: By program, the video that it made of the latest clip, with marks for masks.
    """

    folder: Path
    cores: Sequence[int]
    deface: Path
    backends: Sequence[str]
    excerpts: Sequence[Excerpt]
    detector: str = ""
    outputs: dict[str, Path] = field(default_factory=dict)

    def measure(self, clip: Path, format_: Format, *, rounds: int) -> Result:
        """Time every program on one clip; then run each once more, with marks for masks."""
        contenders = self._programs(clip)
        single = self.folder / "single.mp4"
        make_clip(single, self.excerpts[:1], Format(format_.width, format_.height, 1))
        result = Result(format_, [program.name for program in contenders])
        for index in range(rounds):
            # Every other round runs backwards: nobody always follows the same neighbour.
            for program in contenders if index % 2 else reversed(contenders):
                start = self._run(program, single)
                result.add(program.name, start=start, whole=self._run(program, clip))
                click.echo(f"{format_.name}, round {index + 1}: {program.name} done", err=True)
        for program in contenders:
            output = self.folder / f"marked {program.name} {clip.name}"
            command = program.marked(clip, output)
            result.peak_mb[program.name] = measure(command, cores=self.cores, memory=True).peak_mb
            self.outputs[program.name] = output
        return result

    def slides(self, folder: Path) -> dict[str, Masked]:
        """What each program masks of labelled images, by its name."""
        images = [image for image in read_folder(folder) if image.labelled]
        clip = self.folder / f"slides of {folder.name}.mp4"
        labels = make_slides(clip, images, width=1280, height=720)
        return self._score_all(clip, labels, lambda program: program.alone)

    def pan(self, folder: Path) -> dict[str, Masked]:
        """What each program masks of a pan over labelled images, by its name."""
        clip = self.folder / f"pan over {folder.name}.mp4"
        truth = film(folder, clip, view=VIEW, size=PAN, speed=PAN_SPEED, frames=PAN_FRAMES)
        labels = {index: boxes.astype(np.float32) for index, boxes in enumerate(truth)}
        return self._score_all(clip, labels, lambda program: program.marked)

    def _score_all(
        self, clip: Path, labels: Labels, way: Callable[[Program], Command]
    ) -> dict[str, Masked]:
        """Mask a clip whose faces are known, in one way by each program."""
        output, found = self.folder / "masked.mp4", {}
        for program in self._programs(clip):
            output.unlink(missing_ok=True)
            measure(way(program)(clip, output), cores=self.cores)
            found[program.name] = score(output, labels, frames=len(labels))
        click.echo(f"{clip.stem} done", err=True)
        return found

    def _programs(self, clip: Path) -> list[Program]:
        return programs(self.deface, self.folder, clip=clip, backends=self.backends)

    def _run(self, program: Program, clip: Path) -> Usage:
        output = self.folder / "masked.mp4"
        output.unlink(missing_ok=True)
        usage = measure(program.command(clip, output), cores=self.cores)
        if program.name == OURS:
            _, _, where = usage.output.strip().rpartition(" model, ")
            self.detector = re.sub(r" \S+:\d+", "", where.rstrip(")"))
        return usage


def _score(
    result: Result, clip: Path, bench: _Bench, judge: tuple[Path, ModelInfo], *, every: int
) -> None:
    onnx, model = judge
    detector = InProcessDetector(onnx, model=model)
    try:
        labels = label(clip, detector, every=every)
    finally:
        detector.close()
    for name, video in bench.outputs.items():
        result.masked[name] = score(video, labels, frames=result.format.frames)
