"""How long one box of a correction stays on its face, on made clips and on real ones."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Final

import av
import click
import numpy as np
import numpy.typing as npt

from benchmarks.coverage.clips import ClipMaker
from benchmarks.coverage.command import faces_of
from benchmarks.coverage.labels import label
from benchmarks.coverage.scenarios import RATE, SCENARIOS
from benchmarks.coverage.score import MIN_MASKED, Face, Mask
from benchmarks.coverage.videos import read_clip, write_clip
from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.following import correct
from faceblur.boxes import box_iou
from faceblur.detection import models
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.detections import Detections
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface
from faceblur.video.frames import SourceFrame
from faceblur.video.source import VideoSource
from harness import command_line, machine_card, markdown, write_results

MIN_FRAMES: Final = 15
"""Of an appearance that is followed."""

WAYS: Final = ("follow", "stay")
"""A box that follows, and one that stays where it was drawn, for comparison."""

AFTER: Final = ((0.0, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 60.0))
"""Spans of time since the keyframe, seconds."""


@dataclass
class Tally:
    """Face-frames after a keyframe.

    Attributes:
        frames: How many.
        covered: Those whose face was masked.
        overlaps: Intersection over union of box and face, of each.
        excess: Area of the box over that of the face's, of each.
    """

    frames: int = 0
    covered: int = 0
    overlaps: list[float] = field(default_factory=list)
    excess: list[float] = field(default_factory=list)

    def shown(self) -> dict[str, float]:
        """The figures."""
        return {
            "frames": self.frames,
            "covered": round(self.covered / max(1, self.frames), 4),
            "iou": round(float(np.median(self.overlaps)), 3) if self.overlaps else 0.0,
            "excess": round(float(np.median(self.excess)), 2) if self.excess else 0.0,
        }


Tallies = defaultdict[tuple[str, str, str], Tally]


@click.command("follow")
@click.argument("clips", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--portrait", type=click.Path(path_type=Path), default=Path("docs/images/before.jpg"))
@click.option("--frames", default=90, show_default=True, help="Of each made clip.")
@click.option("--real-frames", default=75, show_default=True, help="Of each real clip.")
@click.option("--seeds", default=3, show_default=True, help="Clips of each scenario.")
@click.option("--model", default=BUNDLED_MODEL, show_default=True, help="For pseudo-labels.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def following(
    *,
    clips: tuple[Path, ...],
    portrait: Path,
    frames: int,
    real_frames: int,
    seeds: int,
    model: str,
    output: Path,
) -> None:
    """Draw one box on each face where it appears, and follow it to its end.

    Made clips have exact truth; real CLIPS the boxes that most passes of a detector agree on.
    """
    tallies: Tallies = defaultdict(Tally)
    costs: list[tuple[float, float]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        maker = ClipMaker(portrait)
        for scenario in SCENARIOS:
            for seed in range(seeds):
                path = folder / "made.mp4"
                drawn = list(maker.frames(scenario, count=frames, seed=seed))
                write_clip(path, (image for image, _ in drawn))
                faces = list(faces_of([truth for _, truth in drawn]))
                costs += _tally(tallies, "made", scenario.name, path, faces)
        onnx, info = models.find(model)
        detector = stack.enter_context(closing(InProcessDetector(onnx, model=info)))
        for clip in clips:
            path = folder / "real.mp4"
            with av.open(str(clip)) as container:
                rate = float(container.streams.video[0].average_rate or RATE)
            write_clip(path, islice(read_clip(clip), real_frames), rate=round(rate))
            faces = list(label(read_clip(path), [detector]))
            costs += _tally(tallies, "real", clip.stem, path, faces)
    _report(output, tallies, costs)
    click.echo((output / "follow.md").read_text())


def _tally(
    tallies: Tallies, kind: str, name: str, path: Path, faces: Sequence[Sequence[Face]]
) -> Iterator[tuple[float, float]]:
    """Follow every appearance of a clip; the cost of it, as `_cost`."""
    times, size = _times(path)
    for track in _appearances(faces):
        indices = sorted(track)
        first, last = indices[0], indices[-1]
        for way in WAYS:
            boxes = _boxes(path, times, size, _box(track[first].whole), first, last, way=way)
            for index in indices[1:]:
                since = float(times[index] - times[first])
                span = next(f"{a:g}-{b:g} s" for a, b in AFTER if a <= since < b)
                for key in ((kind, way, name), (kind, way, "all"), (kind, way, span)):
                    _add(tallies[key], boxes.get(index), track[index])
    yield _cost(path, times, size)


def _appearances(faces: Sequence[Sequence[Face]]) -> Iterator[dict[int, Face]]:
    """The faces of each appearance by frame, from where all of it shows."""
    found: defaultdict[int, dict[int, Face]] = defaultdict(dict)
    for index, each in enumerate(faces):
        for face in each:
            begun = face.appearance in found
            if begun or (face.visible.sum() == face.whole.sum() and not _at_edge(face.whole)):
                found[face.appearance][index] = face
    yield from (track for track in found.values() if len(track) >= MIN_FRAMES)


def _at_edge(mask: Mask) -> bool:
    return bool(mask[[0, -1]].any() or mask[:, [0, -1]].any())


def _box(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _add(tally: Tally, boxes: npt.NDArray[np.float64] | None, face: Face) -> None:
    tally.frames += 1
    if boxes is None:
        return
    canvas = np.full((*face.visible.shape, 3), 255, np.uint8)
    rows = np.concatenate([boxes[0], [1], np.tile((boxes[0][:2] + boxes[0][2:]) / 2, 5)])
    Masker(MaskStyle(mode="solid")).apply(ArraySurface(canvas), Detections.from_rows(rows[None]))
    masked = canvas[face.visible].max(axis=1) < 128
    tally.covered += bool(masked.mean() >= MIN_MASKED)
    truth = _box(face.whole)
    tally.overlaps.append(float(box_iou(boxes, [truth])[0, 0]))
    area = np.prod(boxes[0][2:] - boxes[0][:2])
    tally.excess.append(float(area / ((truth[2] - truth[0]) * (truth[3] - truth[1]))))


def _times(path: Path) -> tuple[list[Fraction], tuple[int, int]]:
    with VideoSource(path) as video:
        times = [item.pts_s for item in video.read() if isinstance(item, SourceFrame)]
        return times, (video.properties.width, video.properties.height)


def _boxes(
    path: Path, times: Sequence[Fraction], size: tuple[int, int], box: Sequence[float],
    first: int, last: int, *, way: str,
) -> dict[int, npt.NDArray[np.float64]]:  # fmt: skip
    """The box of each frame, as the program itself places it."""
    at = [float(round(each, 6)) for each in times]
    keyframes = [{"at": at[first], "box": list(box), "follow": way == "follow"}]
    correction: dict[str, Any] = {"keyframes": keyframes}
    if way == "stay":
        keyframes.append({"at": at[last], "box": list(box), "follow": False})
    elif last + 1 < len(at):
        correction["until"] = at[last + 1]
    recorded = [{"index": i, "pts_s": each, "faces": []} for i, each in enumerate(at)]
    media = {"path": str(path), "width": size[0], "height": size[1], "frames": recorded}
    listing = path.with_suffix(".json")
    media["corrections"] = [correction]
    listing.write_text(json.dumps({"version": 2, "media": [media]}))
    return dict(correct(path, AnnotationFile.read(listing).media(path)).boxes)


def _cost(path: Path, times: Sequence[Fraction], size: tuple[int, int]) -> tuple[float, float]:
    """Milliseconds of one frame: read only, and read with one box that follows."""
    middle = [size[0] * 0.4, size[1] * 0.4, size[0] * 0.55, size[1] * 0.6]
    started = time.process_time()
    _times(path)
    read = time.process_time() - started
    started = time.process_time()
    _boxes(path, times, size, middle, 0, len(times) - 1, way="follow")
    whole = time.process_time() - started
    return 1000 * read / len(times), 1000 * whole / len(times)


def _report(output: Path, tallies: Tallies, costs: Sequence[tuple[float, float]]) -> None:
    results: dict[str, Any] = {}
    for (kind, way, name), tally in tallies.items():
        results.setdefault(kind, {}).setdefault(name, {})[way] = tally.shown()
    read, whole = np.median(np.array(costs), axis=0)
    cost = {"read_ms": round(float(read), 2), "with_a_box_ms": round(float(whole), 2)}
    document = {
        "command": command_line(sys.argv), "card": machine_card(), "cost": cost, **results
    }  # fmt: skip
    rows = [
        (
            kind, name, figures["follow"]["frames"], f"{figures['follow']['covered']:.3f}",
            f"{figures['stay']['covered']:.3f}", figures["follow"]["iou"],
            figures["follow"]["excess"],
        )
        for kind, names in results.items()
        for name, figures in names.items()
    ]  # fmt: skip
    head = "clips | which | face-frames | covered by one box | if it stays | IoU | area"
    text = (
        f"# One box of a correction\n\n`{document['command']}`\n\n"
        "One box, drawn where a face appears, followed to where it goes. IoU and area (of the box, "
        "over that of the face) are medians. Real clips have pseudo-labels. CPU ms of a frame: "
        f"{cost['read_ms']} to read it, {cost['with_a_box_ms']} with a box that follows.\n\n"
    )
    write_results(output, "follow", document, text + markdown(head, rows, left=(0, 1)) + "\n")
