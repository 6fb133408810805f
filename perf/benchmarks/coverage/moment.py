"""The first moment: how many faces show on a live camera before they are first masked."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Final

import av
import click
import numpy as np

from benchmarks.coverage.labels import label, min_agreeing, open_detectors, passes
from benchmarks.coverage.moment_report import FILE, LOOKAHEADS, Report, Scores
from benchmarks.coverage.passers import (
    HEIGHTS,
    SECONDS,
    WALKS,
    PasserMaker,
    Person,
    Sight,
    Walk,
    cut_out,
)
from benchmarks.coverage.scenarios import HEIGHT, WIDTH
from benchmarks.coverage.score import MARK, Face, Score, Scorer
from benchmarks.coverage.videos import read_clip, write_clip
from faceblur.detection import models
from faceblur.detection.detector import Detector
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.detections import Detections
from faceblur.image.pixels import BgrImage
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskStyle
from faceblur.tracking import LiveCover, TrackingOptions, fill_gaps
from faceblur.tracking.live import LIVE_OPTIONS
from faceblur.video.frames import SourceFrame
from faceblur.video.source import VideoSource
from faceblur.video.surface import VideoSurface
from harness import command_line, machine_card

RATES: Final = (5, 10, 25)
_DEADLINE_S: Final = 60.0

Seen = tuple[float, Detections]
"""Time of a frame, and what was detected in it."""


@click.command()
@click.argument("real", nargs=-1, metavar="[CLIP]...")
@click.option("--labelled", type=click.Path(path_type=Path), multiple=True, required=True,
              help="Photographs with labelled faces, to cut people out of.")  # fmt: skip
@click.option("--people", default=16, show_default=True)
@click.option("--model", default=models.automatic_model("camera"), show_default=True)
@click.option("--judge", "judges", multiple=True, help="Another model for the pseudo-labels.")
@click.option("--real-seconds", default=5.0, show_default=True, help="Of each real clip.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def moment(
    *,
    real: tuple[str, ...],
    labelled: tuple[Path, ...],
    people: int,
    model: str,
    judges: tuple[str, ...],
    real_seconds: float,
    output: Path,
) -> None:
    """Faces that leak live, by look-ahead and frame rate, as they come into sight."""
    cast = [person for folder in labelled for person in cut_out(folder, people // len(labelled))]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        detectors = open_detectors((model, *judges), stack)
        detector = detectors[0]
        made = {str(fps): _made(cast, fps, detector, folder) for fps in RATES}
        seen: dict[str, Scores] = {str(fps): {} for fps in RATES}
        for text in real:
            for fps, scores in _real(text, real_seconds, detectors, folder).items():
                seen[str(fps)][Path(text.partition("@")[0]).stem] = scores
        card = machine_card() | {
            "model": detector.model.name,
            "sha256": detector.model.sha256,
            "size": DEFAULT_SIZE,
            "threshold": DEFAULT_THRESHOLD,
            "live": asdict(LIVE_OPTIONS),
            "people": len(cast),
            "face_heights": HEIGHTS,
            "seconds": SECONDS,
        }
        names = [each.model.name for each in detectors]
    report = Report(made, seen, passes(names), min_agreeing(len(names)), real_seconds)
    report.write(output, card=card, command=command_line(sys.argv))
    click.echo((output / "moment.md").read_text())


def _made(cast: Sequence[Person], fps: int, detector: Detector, folder: Path) -> Scores:
    maker = PasserMaker()
    scores: Scores = {}
    for walk in WALKS:
        parts = [
            _judge(*_clip(maker, walk, person, index, fps, detector, folder))
            for index, person in enumerate(cast)
        ]
        scores[walk.name] = {way: Score.joined([p[way] for p in parts]) for way in parts[0]}
        click.echo(f"{walk.name} at {fps} fps done", err=True)
    return scores


def _clip(
    maker: PasserMaker,
    walk: Walk,
    person: Person,
    index: int,
    fps: int,
    detector: Detector,
    folder: Path,
) -> tuple[list[Seen], list[list[Face]], tuple[int, int]]:
    height = HEIGHTS[index % len(HEIGHTS)]
    drawn = list(maker.frames(walk, person, height=height, fps=fps, seed=index))
    path = folder / "drawn.mp4"
    write_clip(path, (image for image, _ in drawn), rate=fps)
    return _detected(path, detector), list(_faces([s for _, s in drawn])), (WIDTH, HEIGHT)


def _faces(sights: list[Sight]) -> Iterator[list[Face]]:
    appearance, before = 0, False
    for sight in sights:
        appearance += sight.counts and not before
        before = sight.counts
        yield [Face(sight.visible, sight.visible, appearance)] if sight.counts else []


def _real(
    text: str, seconds: float, detectors: Sequence[Detector], folder: Path
) -> dict[int, dict[str, Score]]:
    """A part of a real clip at each rate that it has frames for, with pseudo-labels."""
    name, _, start = text.partition("@")
    with av.open(name) as container:
        rate = float(container.streams.video[0].average_rate or max(RATES))
    first = round(float(start or 0) * rate)
    images = list(islice(read_clip(Path(name)), first, first + round(seconds * rate)))
    images = [p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2] for p in images]
    labels = list(label(images, detectors))
    path = folder / "real.mp4"
    scores = {}
    for fps in RATES:
        if fps > rate * 1.01:
            continue
        chosen = [round(i * rate / fps) for i in range(int(len(images) * fps / rate))]
        write_clip(path, (images[i] for i in chosen), rate=fps)
        size = images[0].shape[1], images[0].shape[0]
        scores[fps] = _judge(_detected(path, detectors[0]), [labels[i] for i in chosen], size)
    click.echo(f"{name} done", err=True)
    return scores


def _detected(path: Path, detector: Detector) -> list[Seen]:
    """What a camera's detector finds in each frame of a file."""
    low, found = LIVE_OPTIONS.min_score(DEFAULT_THRESHOLD), []
    with VideoSource(path) as source:
        plan = plan_model_input(source.properties, size=DEFAULT_SIZE, stride=32)
        make_input = ModelInputMaker(source.properties, plan)
        for item in source.read():
            if isinstance(item, SourceFrame):
                answer = detector.submit([make_input(item.image)], min_score=low)[0]
                found.append((float(item.pts_s), plan.to_source(answer.result(_DEADLINE_S))))
    return found


def _judge(
    seen: Sequence[Seen], faces: Sequence[Sequence[Face]], size: tuple[int, int]
) -> dict[str, Score]:
    """What shows of faces at each look-ahead, and as a file."""
    ways: dict[str, Iterable[Detections]] = {
        f"lookahead {n}": _live(seen, lookahead=n) for n in LOOKAHEADS
    }
    whole = fill_gaps(
        ((i, found) for i, (_, found) in enumerate(seen)),
        options=TrackingOptions(),
        threshold=DEFAULT_THRESHOLD,
        time_s=lambda i: seen[i][0],
    )
    ways[FILE] = (masks for _, masks in whole)
    scorers = {way: Scorer() for way in ways}
    for found, truth in zip(zip(*ways.values(), strict=True), faces, strict=True):
        # Most ways mask most frames alike.
        drawn: dict[bytes, BgrImage] = {}
        for scorer, each in zip(scorers.values(), found, strict=True):
            key = each.boxes.tobytes()
            if key not in drawn:
                drawn[key] = _drawn(each, size)
            scorer.add(drawn[key], truth)
    return {way: scorer.score() for way, scorer in scorers.items()}


def _live(seen: Sequence[Seen], *, lookahead: int) -> Iterator[Detections]:
    # No thumbnails, as cameras have none.
    cover: LiveCover[int] = LiveCover(threshold=DEFAULT_THRESHOLD, lookahead=lookahead)
    for i, (time_s, found) in enumerate(seen):
        for _, masks in cover.push(i, found, time_s=time_s):
            yield masks
    for _, masks in cover.flush():
        yield masks


def _drawn(found: Detections, size: tuple[int, int]) -> BgrImage:
    """The masks alone, on grey."""
    frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 90, np.uint8), "bgr24")
    image = frame.reformat(format="yuv420p")
    Masker(MaskStyle(mode="solid", color=MARK)).apply(VideoSurface(image), found)
    return np.asarray(image.to_ndarray(format="bgr24"), np.uint8)
