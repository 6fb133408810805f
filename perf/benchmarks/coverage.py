"""How many faces flash through: cover over time against single frames, and against deface."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

import av
import click
import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.coverage_clips import RATE, SCENARIOS, ClipMaker, read_clip, write_clip
from benchmarks.coverage_score import MARK, MIN_MASKED, Face, Mask, Picture, Score, Scorer
from faceblur import models
from faceblur.defaults import BUNDLED_MODEL, DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detections import Detections
from faceblur.inprocess import InProcessDetector
from faceblur.letterbox import Letterbox
from faceblur.masks import Masker, MaskStyle
from faceblur.surface import ArraySurface
from faceblur.tracking import CoverOptions, LiveCover, cover
from faceblur.tracking.association import pair
from faceblur.tracking.cuts import thumbnail
from faceblur.tracking.live import LIVE_OPTIONS
from harness import Contender, interleave, machine_card, summarise, table

ALONE: Final = "each frame alone"
COVER: Final = "cover"
DEFACE: Final = "deface"

PASSES: Final = tuple((size, flip) for size in (480, 640, 960) for flip in (False, True))
"""Network sizes, plain and mirrored, whose agreement makes a pseudo-label."""
MIN_AGREEING: Final = 4
_SAME_FACE_IOU: Final = 0.5


@dataclass(frozen=True, eq=False)
class Clip:
    """A video file and where its faces are.

    Attributes:
        name: Scenario, or the name of a real clip.
        path: The file that all contenders get.
        faces: For each frame, what has to be masked.
        rate: Frames per second.
    """

    name: str
    path: Path
    faces: Sequence[Sequence[Face]]
    rate: float


@click.command()
@click.argument("real", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--portrait", type=click.Path(path_type=Path), default="docs/images/before.jpg")
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
@click.option("--deface", type=click.Path(path_type=Path, exists=True), help="Its executable.")
@click.option("--frames", default=90, show_default=True, help="Of each clip.")
@click.option("--real-frames", default=60, show_default=True, help="Of each real clip.")
@click.option("--seeds", default=3, show_default=True, help="Clips of each scenario.")
@click.option("--rounds", default=7, show_default=True, help="Of the speed measurement.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def coverage(
    *,
    real: tuple[Path, ...],
    portrait: Path,
    model: str,
    deface: Path | None,
    frames: int,
    real_frames: int,
    seeds: int,
    rounds: int,
    output: Path,
) -> None:
    """Faces that leak from moving-face videos with exact ground truth, and from REAL clips."""
    onnx, info = models.find(model)
    card = machine_card() | {
        "model": info.name,
        "sha256": info.sha256,
        "threshold": DEFAULT_THRESHOLD,
        "cover": asdict(CoverOptions()),
        "leaks_below": MIN_MASKED,
        "frames": frames,
        "real_frames": real_frames,
        "seeds": seeds,
    }
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(InProcessDetector(onnx), deface, Path(folder))
        exact = bench.run(_exact_clips(portrait, Path(folder), frames=frames, seeds=seeds))
        pseudo = bench.run(bench.labelled(path, frames=real_frames) for path in real)
        speed = bench.speed(portrait, frames=frames, rounds=rounds) if rounds else ""
        bench.close()
    _report(output, card=card, exact=exact, pseudo=pseudo, speed=speed)
    click.echo((output / "coverage.md").read_text())


Scores = dict[str, dict[str, Score]]
"""By clip name, then contender."""


class _Bench:
    """Runs all contenders over clips."""

    def __init__(self, detector: InProcessDetector, deface: Path | None, folder: Path) -> None:
        self._detector = detector
        self._deface = deface
        self._folder = folder
        self._masker = Masker(MaskStyle(mode="solid", colour=MARK))

    def close(self) -> None:
        self._detector.close()

    def run(self, clips: Iterable[Clip]) -> Scores:
        """Score every contender; clips of one name are taken together."""
        found: dict[str, dict[str, list[Score]]] = {}
        for clip in clips:
            for contender, score in self._scores(clip):
                found.setdefault(clip.name, {}).setdefault(contender, []).append(score)
            click.echo(f"{clip.name} done", err=True)
        return {
            name: {contender: Score.joined(scores) for contender, scores in row.items()}
            for name, row in found.items()
        }

    def _scores(self, clip: Clip) -> Iterator[tuple[str, Score]]:
        pictures = list(read_clip(clip.path))
        if len(pictures) != len(clip.faces):
            raise click.ClickException(f"{clip.path}: frames went missing")
        low = min(CoverOptions().min_score(DEFAULT_THRESHOLD), DEFAULT_THRESHOLD)
        found = [self._detect(picture, DEFAULT_SIZE, min_score=low) for picture in pictures]
        for name, fill in contenders().items():
            scorer = Scorer()
            filled = list(fill(pictures, found, clip.rate))
            for picture, detections, faces in zip(pictures, filled, clip.faces, strict=True):
                masked = picture.copy()
                self._masker.apply(ArraySurface(masked), detections)
                scorer.add(masked, faces)
            yield name, scorer.score()
        if self._deface is not None:
            scorer = Scorer()
            masked_frames = self._run_deface(self._deface, clip.path)
            for picture, faces in zip(masked_frames, clip.faces, strict=True):
                scorer.add(picture, faces)
            yield DEFACE, scorer.score()

    def _run_deface(self, deface: Path, source: Path) -> Iterator[Picture]:
        """Mask a file with deface, at its defaults but for a colour that can be told apart."""
        colour, output = self._folder / "mark.png", self._folder / "defaced.mp4"
        cv2.imwrite(str(colour), np.full((64, 64, 3), MARK[::-1], np.uint8))
        writer = {"codec": "libx264", "macro_block_size": 2, "output_params": ["-crf", "12"]}
        command = [deface, source, "-o", output, "--replacewith", "img", "--replaceimg", colour]
        command += ["--ffmpeg-config", json.dumps(writer)]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise click.ClickException(f"deface failed on {source}:\n{done.stderr[-2000:]}")
        return read_clip(output)

    def _detect(
        self, picture: Picture, size: int, *, min_score: float, flip: bool = False
    ) -> Detections:
        height, width = picture.shape[:2]
        plan = Letterbox.plan(width, height, size=size)
        rgb = picture[:, ::-1, ::-1] if flip else picture[:, :, ::-1]
        canvas = plan.apply(np.ascontiguousarray(rgb))
        found = plan.to_source(self._detector.submit(canvas, min_score=min_score).result(60))
        if not flip:
            return found
        boxes = found.boxes * [-1, 1, -1, 1] + [width, 0, width, 0]
        boxes = boxes[:, [2, 1, 0, 3]].astype(np.float32)
        # Left and right landmarks stay mixed up: labels do not use them.
        return Detections(boxes, found.scores, found.landmarks)

    def labelled(self, path: Path, *, frames: int) -> Clip:
        """The beginning of a real clip, with pseudo-labels: faces that most passes agree on."""
        with av.open(str(path)) as container:
            rate = float(container.streams.video[0].average_rate or RATE)
        target = self._folder / f"{path.stem}.mp4"
        write_clip(target, map(_even, islice(read_clip(path), frames)), rate=rate)
        linker = _Linker()
        faces = []
        for picture in read_clip(target):
            passes = [
                self._detect(picture, size, min_score=DEFAULT_THRESHOLD, flip=flip).boxes
                for size, flip in PASSES
            ]
            agreed = agree(passes)
            shapes = [_ellipse(box, picture.shape[:2]) for box in agreed]
            names = linker.link(agreed)
            faces.append(
                [
                    Face(shape, shape, name)
                    for shape, name in zip(shapes, names, strict=True)
                    if shape.any()
                ]
            )
        return Clip(path.stem, target, faces, rate)

    def speed(self, portrait: Path, *, frames: int, rounds: int) -> str:
        """Detection and masking of a clip with and without the cover, in turns."""
        maker = ClipMaker(portrait)
        pictures = [p for p, _ in maker.frames(SCENARIOS[0], count=frames, seed=0)]
        low = CoverOptions().min_score(DEFAULT_THRESHOLD)

        def work(fill: Fill, min_score: float) -> Callable[[], None]:
            def once() -> None:
                found = [self._detect(p, DEFAULT_SIZE, min_score=min_score) for p in pictures]
                for picture, faces in zip(pictures, fill(pictures, found, RATE), strict=True):
                    self._masker.apply(ArraySurface(picture.copy()), faces)

            return once

        sides = [
            Contender(ALONE, work(_alone, DEFAULT_THRESHOLD)),
            Contender(COVER, work(_covered(CoverOptions()), low)),
        ]
        samples = interleave(sides, rounds=rounds)
        return table(summarise(sides, samples, units=frames), unit="frames")


Fill = Callable[[Sequence[Picture], Sequence[Detections], float], Iterator[Detections]]


def contenders() -> dict[str, Fill]:
    """All ways to use the same detections."""
    ways: dict[str, Fill] = {ALONE: _alone, COVER: _covered(CoverOptions())}
    for every in (2, 3, 5):
        ways[f"cover, detect every {every}"] = _covered(CoverOptions(detect_every=every))
    for lookahead in (0, 5):
        ways[f"live, lookahead {lookahead}"] = _live(lookahead)
    return ways


def _alone(
    pictures: Sequence[Picture], found: Sequence[Detections], rate: float
) -> Iterator[Detections]:
    del pictures, rate
    for faces in found:
        yield faces.select(faces.scores >= DEFAULT_THRESHOLD)


def _covered(options: CoverOptions) -> Fill:
    def fill(
        pictures: Sequence[Picture], found: Sequence[Detections], rate: float
    ) -> Iterator[Detections]:
        checked = (
            (index, faces if index % options.detect_every == 0 else None)
            for index, faces in enumerate(found)
        )
        covered = cover(
            checked,
            options=options,
            threshold=DEFAULT_THRESHOLD,
            time_s=lambda index: index / rate,
            thumbnail=lambda index: thumbnail(pictures[index][:, :, 1]),
        )
        for _, faces in covered:
            yield faces

    return fill


def _live(lookahead: int) -> Fill:
    def fill(
        pictures: Sequence[Picture], found: Sequence[Detections], rate: float
    ) -> Iterator[Detections]:
        live: LiveCover[int] = LiveCover(
            replace(LIVE_OPTIONS), threshold=DEFAULT_THRESHOLD, lookahead=lookahead
        )
        for index, (picture, faces) in enumerate(zip(pictures, found, strict=True)):
            small = thumbnail(picture[:, :, 1])
            due = live.push(index, faces, time_s=index / rate, thumbnail=small)
            if due is not None:
                yield due[1]
        for _, faces in live.flush():
            yield faces

    return fill


def _exact_clips(portrait: Path, folder: Path, *, frames: int, seeds: int) -> Iterator[Clip]:
    maker = ClipMaker(portrait)
    for scenario in SCENARIOS:
        for seed in range(seeds):
            path = folder / f"{scenario.name.replace(' ', '_')}_{seed}.mp4"
            drawn = list(maker.frames(scenario, count=frames, seed=seed))
            write_clip(path, (picture for picture, _ in drawn))
            faces = [
                [Face(truth.visible, truth.ellipse)] if truth.counts else [] for _, truth in drawn
            ]
            yield Clip(scenario.name, path, faces, RATE)


def agree(passes: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Boxes that enough passes have in common, each the median of what they say.

    Args:
        passes: (N, 4) boxes of each pass.
    """
    groups: list[list[npt.NDArray[np.float32]]] = []
    for boxes in passes:
        middles = np.array([np.median(group, axis=0) for group in groups], np.float32)
        fit = iou(middles.reshape(-1, 4), boxes)
        matched = pair(np.where(fit >= _SAME_FACE_IOU, fit, 0).astype(np.float32))
        for group, box in matched:
            groups[group].append(boxes[box])
        taken = {box for _, box in matched}
        groups += [[box] for index, box in enumerate(boxes) if index not in taken]
    agreed = [np.median(group, axis=0) for group in groups if len(group) >= MIN_AGREEING]
    return np.array(agreed, np.float32).reshape(-1, 4)


def iou(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Overlap of each box of a with each of b, 0-1."""
    overlap = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(
        a[:, None, :2], b[None, :, :2]
    )
    shared = np.maximum(overlap, 0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (a, b)]
    result: npt.NDArray[np.float32] = shared / (areas[0][:, None] + areas[1][None] - shared)
    return result


class _Linker:
    """Names pseudo-labels so that one that overlaps one of the frame before keeps its name."""

    def __init__(self) -> None:
        self._boxes = np.zeros((0, 4), np.float32)
        self._names: list[int] = []
        self._next = 0

    def link(self, boxes: npt.NDArray[np.float32]) -> list[int]:
        fit = iou(self._boxes, boxes)
        pairs = {column: row for row, column in pair(np.where(fit > 0.3, fit, 0))}
        names = []
        for column in range(len(boxes)):
            if column in pairs:
                names.append(self._names[pairs[column]])
            else:
                names.append(self._next)
                self._next += 1
        self._boxes, self._names = boxes, names
        return names


def _even(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    return picture[: height // 2 * 2, : width // 2 * 2]


def _ellipse(box: npt.NDArray[np.float32], shape: tuple[int, ...]) -> Mask:
    y, x = np.ogrid[: shape[0], : shape[1]]
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    inside: Mask = ((x + 0.5 - centre[0]) / half[0]) ** 2 + (
        (y + 0.5 - centre[1]) / half[1]
    ) ** 2 <= 1
    return inside


def _report(
    folder: Path, *, card: dict[str, object], exact: Scores, pseudo: Scores, speed: str
) -> None:
    """Write coverage.json, coverage.md and coverage.png."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "card": card,
        "exact": _plain(exact),
        "pseudo_labels": _plain(pseudo),
        "speed": speed,
    }
    (folder / "coverage.json").write_text(json.dumps(document, indent=1) + "\n")
    facts = "\n".join(f"- {key}: {value}" for key, value in card.items())
    parts = [
        "# coverage",
        "Run again with: `perf/run coverage CLIPS --model MODEL --deface EXECUTABLE`; see --help.",
        "A face-frame is a face of which a tenth or more shows in a frame. It leaks when less "
        f"than {MIN_MASKED:.0%} of what shows of its inscribed ellipse is masked in the output.",
        "Exact ground truth: a portrait, moved.",
        _tables(exact),
    ]
    if pseudo:
        parts += [
            f"Real clips. Pseudo-labels, not truth: faces on which {MIN_AGREEING} of "
            f"{len(PASSES)} passes of the same detector agree.",
            _tables(pseudo),
        ]
    if speed:
        parts += ["Speed of detection and masking.", speed]
    (folder / "coverage.md").write_text("\n\n".join([*parts, facts]) + "\n")
    _plot(folder / "coverage.png", exact)


def _plain(scores: Scores) -> dict[str, dict[str, dict[str, float]]]:
    return {
        clip: {name: asdict(s) | {"per_1000": s.per_1000} for name, s in row.items()}
        for clip, row in scores.items()
    }


def _tables(scores: Scores) -> str:
    if not scores:
        return ""
    names = list(next(iter(scores.values())))
    total = {name: Score.joined([row[name] for row in scores.values()]) for name in names}
    rows = scores | {"**all**": total}
    measures: tuple[tuple[str, Callable[[Score], str]], ...] = (
        ("Leaked face-frames per 1,000", lambda s: f"{s.per_1000:.1f}"),
        ("Longest leak, frames", lambda s: str(s.longest_leak)),
        ("Frames to the first mask, worst", lambda s: str(s.first_mask)),
        ("Masked where no face is, % of the picture", lambda s: f"{100 * s.extra:.1f}"),
    )
    texts = []
    for title, show in measures:
        lines = [f"| {title} | face-frames | " + " | ".join(names) + " |"]
        lines.append("|---|---:|" + "---:|" * len(names))
        for clip, row in rows.items():
            cells = " | ".join(show(row[name]) for name in names)
            lines.append(f"| {clip} | {row[names[0]].face_frames} | {cells} |")
        texts.append("\n".join(lines))
    return "\n\n".join(texts)


def _plot(path: Path, scores: Scores) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = list(next(iter(scores.values())))
    width = 0.8 / len(names)
    figure, axes = plt.subplots(figsize=(11, 4.5))
    for index, name in enumerate(names):
        places = np.arange(len(scores)) + (index - (len(names) - 1) / 2) * width
        axes.bar(places, [row[name].per_1000 for row in scores.values()], width, label=name)
    axes.set_yscale("symlog", linthresh=10)
    axes.set_xticks(np.arange(len(scores)), list(scores))
    axes.set_ylabel("leaked face-frames per 1,000")
    axes.legend(fontsize=8, ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
