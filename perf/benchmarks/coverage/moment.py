"""The first moment: how many faces show on a live camera before they are first masked."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import av
import click
import numpy as np

from benchmarks.coverage.clips import HEIGHT, WIDTH, read_clip, write_clip
from benchmarks.coverage.labels import label, min_agreeing, passes
from benchmarks.coverage.passers import (
    HEIGHTS,
    MIN_TURNED,
    SECONDS,
    WALKS,
    PasserMaker,
    Person,
    Sight,
    Walk,
    cut_out,
)
from benchmarks.coverage.score import MARK, Face, Picture, Score, Scorer
from faceblur.detection import models
from faceblur.detection.detector import Detector
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.detections import Detections
from faceblur.live.options import DEFAULT_LOOKAHEAD
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskStyle
from faceblur.tracking import LiveCover, TrackingOptions, fill_gaps
from faceblur.tracking.live import LIVE_OPTIONS
from faceblur.video.frames import SourceFrame
from faceblur.video.source import VideoSource
from faceblur.video.surface import VideoSurface
from harness import command_line, machine_card, markdown

LOOKAHEADS: Final = (0, 3, 5, 8, 15)
RATES: Final = (5, 10, 25)
FILE: Final = "as a file"
MOST_PER_1000: Final = 2.0
"""Leaked face-frames that a default may have in the drawn clips."""

_DEADLINE_S: Final = 60.0

Seen = tuple[float, Detections]
"""Time of a frame, and what was detected in it."""
Scores = dict[str, dict[str, Score]]
"""By walk or clip, then by look-ahead."""


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
        detectors = []
        for name in (model, *judges):
            onnx, info = models.find(name)
            detectors.append(InProcessDetector(onnx, model=info))
            stack.callback(detectors[-1].close)
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
    report = _Report(made, seen, passes(names), min_agreeing(len(names)), real_seconds)
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
    write_clip(path, (picture for picture, _ in drawn), rate=fps)
    return _looked(path, detector), list(_faces([s for _, s in drawn])), (WIDTH, HEIGHT)


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
    pictures = list(islice(read_clip(Path(name)), first, first + round(seconds * rate)))
    pictures = [p[: p.shape[0] // 2 * 2, : p.shape[1] // 2 * 2] for p in pictures]
    labels = list(label(pictures, detectors))
    path = folder / "real.mp4"
    scores = {}
    for fps in RATES:
        if fps > rate * 1.01:
            continue
        chosen = [round(i * rate / fps) for i in range(int(len(pictures) * fps / rate))]
        write_clip(path, (pictures[i] for i in chosen), rate=fps)
        size = pictures[0].shape[1], pictures[0].shape[0]
        scores[fps] = _judge(_looked(path, detectors[0]), [labels[i] for i in chosen], size)
    click.echo(f"{name} done", err=True)
    return scores


def _looked(path: Path, detector: Detector) -> list[Seen]:
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
        drawn: dict[bytes, Picture] = {}
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


def _drawn(found: Detections, size: tuple[int, int]) -> Picture:
    """The masks alone, on grey."""
    frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 90, np.uint8), "bgr24")
    image = frame.reformat(format="yuv420p")
    Masker(MaskStyle(mode="solid", color=MARK)).apply(VideoSurface(image), found)
    return np.asarray(image.to_ndarray(format="bgr24"), np.uint8)


@dataclass(frozen=True)
class _Report:
    """What was measured.

    Attributes:
        made: By rate, where faces are known.
        real: By rate, on pseudo-labels.
        passes: What made those.
        agreeing: How many of them had to agree.
        seconds: Of each real clip.
    """

    made: dict[str, Scores]
    real: dict[str, Scores]
    passes: Sequence[str]
    agreeing: int
    seconds: float

    def write(self, folder: Path, *, card: dict[str, object], command: str) -> None:
        """Write moment.json and moment.md."""
        folder.mkdir(parents=True, exist_ok=True)
        totals = {fps: _joined(scores.values()) for fps, scores in self.made.items()}
        document = {
            "command": command,
            "card": card,
            "made": {fps: _plain(scores) for fps, scores in self.made.items()},
            "totals": _plain(totals),
            "real": {fps: _plain(scores) for fps, scores in self.real.items() if scores},
            "passes": list(self.passes),
            "agreeing": self.agreeing,
        }
        (folder / "moment.json").write_text(json.dumps(document, indent=1) + "\n")
        default = f"lookahead {DEFAULT_LOOKAHEAD}"
        parts = [
            "# moment",
            f"`{command}`",
            "Leaked face-frames of 1,000 on a live camera, by the frames that it looks ahead "
            "(seconds of delay in brackets), and in brackets those before the first mask of a "
            "face. *As a file* is what the same frames give with all of the future known.",
            "## People cut out of labelled photographs: exact places",
            f"They walk in and out, pass behind pillars, and turn round. Faces are "
            f"{', '.join(f'{h:g}' for h in HEIGHTS)} pixels high. A face counts from where a tenth "
            f"of it shows, one that turns from where {MIN_TURNED:.0%} of its front does.",
            self._verdict(totals, default),
        ]
        for fps, scores in self.made.items():
            rows = scores | {"**all**": totals[fps]}
            parts += [f"### {fps} frames a second", _table(rows, float(fps))]
        if any(self.real.values()):
            parts += [
                "## Real clips: pseudo-labels, not truth",
                f"{self.seconds:g} s of each, faces on which at least {self.agreeing} of "
                f"{len(self.passes)} passes agree: {'; '.join(self.passes)}. Many of these faces "
                "are never detected at 640 pixels, which no look-ahead mends.",
            ]
            for fps, scores in self.real.items():
                if scores:
                    parts += [f"### {fps} frames a second, real", _table(scores, float(fps))]
        parts += ["\n".join(f"- {key}: {value}" for key, value in card.items())]
        (folder / "moment.md").write_text("\n\n".join(parts) + "\n")

    def _verdict(self, totals: Scores, default: str) -> str:
        lines = []
        for fps, row in totals.items():
            leaks = row[default].per_1000
            met = "met" if leaks <= MOST_PER_1000 else "**missed**"
            lines.append(
                f"- {met} at {fps} fps: at most {MOST_PER_1000:g} of 1,000 leak at the default, "
                f"{default}: {leaks:.1f}"
            )
        return "\n".join(lines)


def _joined(rows: Iterable[dict[str, Score]]) -> dict[str, Score]:
    listed = list(rows)
    return {way: Score.joined([row[way] for row in listed]) for way in listed[0]}


def _plain(scores: Scores) -> dict[str, dict[str, dict[str, float]]]:
    return {
        name: {way: asdict(s) | {"per_1000": s.per_1000} for way, s in row.items()}
        for name, row in scores.items()
    }


def _table(scores: Scores, fps: float) -> str:
    heads = [f"{n} ({n / fps:.2g} s)" for n in LOOKAHEADS]
    rows = [
        (
            name,
            next(iter(row.values())).face_frames,
            *(f"{s.per_1000:.1f} ({_first(s):.1f})" for s in row.values()),
        )
        for name, row in scores.items()
    ]
    return markdown(" | ".join(("", "face-frames", *heads, FILE)), rows)


def _first(score: Score) -> float:
    """Of 1,000 face-frames those before the first mask of a face."""
    return 1000 * score.first_mask_mean * score.appearances / max(1, score.face_frames)
