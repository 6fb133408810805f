"""What close passes over parts bring to large videos, and cost: pans over labelled photographs."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

import av
import click
import numpy as np
import numpy.typing as npt

from benchmarks.pans import RATE, Boxes, film
from faceblur.batch.faces import DetectedFaces
from faceblur.batch.video_threads import DecodedFrame
from faceblur.detection import models
from faceblur.detection.detector import Detector
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD, DetectionOptions, Tiles
from faceblur.detection.parts import PartPlan, Rotation
from faceblur.detection.repository import FAST_MODEL
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.detections import Detections
from faceblur.live.sources.preparation import MAX_PARTS
from faceblur.masks.masker import Masker
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.tracking import LiveCover
from faceblur.tracking.live import LIVE_OPTIONS
from faceblur.video.source import VideoSource
from faceblur.video.surface import VideoSurface
from harness import card_lines, command_line, machine_card, markdown, page_of, write_results

SIZE: Final = (3840, 2160)
HEIGHTS: Final = (12, 16, 24, 32, 40, 64)
"""Faces are counted by these, pixels; higher ones are one more group."""

MIN_MASKED: Final = 0.9
"""A face is covered when so much of its inscribed ellipse is."""

WAYS: Final[tuple[Tiles, ...]] = ("off", "auto", "fine")
LIVE: Final[tuple[tuple[Tiles, int], ...]] = (("off", 0), ("auto", 0), ("auto", 8))
"""Ways to search, and frames of look-ahead."""


@dataclass
class Tally:
    """What one way to search covered in all clips of one kind.

    Attributes:
        way: What the tables call it.
        faces: Labelled face-frames by height.
        covered: Those of them that were masked.
        extra: Share of all pixels that was masked away from every labelled face, for each frame;
            a face counts with half its size around it.
        cpu_s: CPU time of decoding, detection and tracking.
        frames: How many.
    """

    way: str
    faces: list[int] = field(default_factory=lambda: [0] * (len(HEIGHTS)))
    covered: list[int] = field(default_factory=lambda: [0] * (len(HEIGHTS)))
    extra: float = 0.0
    cpu_s: float = 0.0
    frames: int = 0

    def add(self, masked: npt.NDArray[np.bool_], boxes: Boxes) -> None:
        """Look at one masked frame."""
        elsewhere = masked.copy()
        for x0, y0, x1, y1 in boxes:
            rows, columns = slice(int(y0), int(y1) + 1), slice(int(x0), int(x1) + 1)
            height, around = y1 - y0, (y1 - y0) / 2
            elsewhere[
                max(0, int(y0 - around)) : int(y1 + around),
                max(0, int(x0 - around)) : int(x1 + around),
            ] = False
            if height < HEIGHTS[0]:
                continue
            group = sum(height >= low for low in HEIGHTS) - 1
            y, x = np.mgrid[rows, columns]
            inside = ((x - (x0 + x1) / 2) / (x1 - x0)) ** 2 + (
                (y - (y0 + y1) / 2) / (y1 - y0)
            ) ** 2 <= 0.25
            self.faces[group] += 1
            self.covered[group] += bool(masked[rows, columns][inside].mean() >= MIN_MASKED)
        self.extra += float(elsewhere.mean())
        self.frames += 1


@click.command("panning")
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option("--speeds", default="0,100", show_default=True, help="Of the pans, pixels a second.")
@click.option("--seconds", default=1.6, show_default=True, help="Length of each clip.")
@click.option("--model", default=FAST_MODEL, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def panning(
    *, folders: tuple[Path, ...], speeds: str, seconds: float, model: str, output: Path
) -> None:
    """Film labelled photographs of FOLDERS, side by side at their own size, in 4K.

    The camera stands still or pans, so it is known where every face is in every frame.
    """
    onnx, info = models.find(model)
    card = machine_card() | {"model": info.name, "sha256": info.sha256, "size": DEFAULT_SIZE}
    card |= {"threshold": DEFAULT_THRESHOLD, "video": f"{SIZE[0]} × {SIZE[1]}, {RATE} fps, H.264"}
    detector = InProcessDetector(onnx, model=info)
    tables: dict[str, list[Tally]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for folder in folders:
            for speed in map(int, speeds.split(",")):
                clip = Path(scratch) / "clip.mp4"
                truth = film(
                    folder, clip, view=SIZE, size=SIZE, speed=speed, frames=round(seconds * RATE)
                )
                motion = f"{speed} pixels a second" if speed else "still"
                tables[f"{folder.name}, {motion}"] = _compare(clip, truth, detector)
    detector.close()
    _write(output, card, tables)


def _compare(clip: Path, truth: Sequence[Boxes], detector: Detector) -> list[Tally]:
    files = [_tally(f"file, {way}", _file(clip, detector, way), truth) for way in WAYS]
    live = [
        _tally(f"live, {way}, look-ahead {ahead}", _live(clip, detector, way, ahead), truth)
        for way, ahead in LIVE
    ]
    return files + live


def _tally(way: str, find: Callable[[], Iterator[Detections]], truth: Sequence[Boxes]) -> Tally:
    tally, masker = Tally(way), Masker(MaskStyle(mode="solid", color=(255, 255, 255)))
    started = time.process_time()
    found = list(find())
    tally.cpu_s = time.process_time() - started
    for faces, boxes in zip(found, truth, strict=True):
        frame = av.VideoFrame(*SIZE, "gray")
        np.frombuffer(memoryview(frame.planes[0]), np.uint8)[:] = 0
        masker.apply(VideoSurface(frame), faces)
        tally.add(frame.to_ndarray() > 127, boxes)
    return tally


def _file(clip: Path, detector: Detector, tiles: Tiles) -> Callable[[], Iterator[Detections]]:
    """As `faceblur blur` finds faces."""
    policy = Policy(detection=DetectionOptions(tiles=tiles, deadline_s=60))

    def find() -> Iterator[Detections]:
        with VideoSource(clip) as video:
            faces = DetectedFaces(detector, policy).in_video(clip, video.properties)
            assert faces.make_inputs is not None
            make_inputs = faces.make_inputs
            frames = (
                DecodedFrame(f, make_inputs(f))
                for f in video.read()
                if not isinstance(f, av.Packet)
            )
            for _, found in faces.find(frames):
                yield found

    return find


def _live(
    clip: Path, detector: Detector, tiles: Tiles, lookahead: int
) -> Callable[[], Iterator[Detections]]:
    """As a camera finds them whose frames all get to the detector."""
    policy = Policy(detection=DetectionOptions(tiles=tiles, deadline_s=60))

    def find() -> Iterator[Detections]:
        low = LIVE_OPTIONS.min_score(DEFAULT_THRESHOLD)
        cover: LiveCover[int] = LiveCover(
            LIVE_OPTIONS, threshold=DEFAULT_THRESHOLD, lookahead=lookahead
        )
        with VideoSource(clip) as video:
            properties = video.properties
            whole = plan_model_input(properties, size=policy.detection.size, stride=32)
            plan = PartPlan.of(whole, tiles=tiles)
            maker = ModelInputMaker(properties, whole, plan.parts)
            rotation = Rotation(len(plan.parts), most=MAX_PARTS)
            for frame in video.read():
                if isinstance(frame, av.Packet):
                    continue
                turns = rotation.take(float(frame.pts_s))
                answers = detector.submit(maker.whole_and_parts(frame.image, turns), min_score=low)
                faces = plan.merge([each.result() for each in answers], turns, min_score=low)
                due = cover.push(frame.index, faces, time_s=float(frame.pts_s))
                if due is not None:
                    yield due[1]
        yield from (faces for _, faces in cover.flush())

    return find


def _write(output: Path, card: dict[str, object], tables: dict[str, list[Tally]]) -> None:
    document = {"command": command_line(sys.argv), "card": card, "heights": HEIGHTS}
    document |= {
        name: [
            asdict(tally)
            | {
                "cpu_ms": 1000 * tally.cpu_s / tally.frames,
                "elsewhere": 100 * tally.extra / tally.frames,
                "recall": [_share(*pair) for pair in zip(tally.covered, tally.faces, strict=True)],
            }
            for tally in tallies
        ]
        for name, tallies in tables.items()
    }
    groups = [f"{a}-{b} px" for a, b in pairwise(HEIGHTS)]
    head = " | ".join(["way", "CPU ms/frame", *groups, f"{HEIGHTS[-1]}+ px", "masked elsewhere"])
    parts = [
        "# Small faces in large videos",
        "Share of labelled face-frames that are masked (in brackets how many there are), by the "
        "height of the face. CPU time of decoding, detection and tracking.",
    ]
    for name, tallies in tables.items():
        rows = [
            (
                tally.way,
                f"{1000 * tally.cpu_s / tally.frames:.0f}",
                *(
                    f"{_share(covered, faces):.3f} ({faces})" if faces else "-"
                    for covered, faces in zip(tally.covered, tally.faces, strict=True)
                ),
                f"{100 * tally.extra / tally.frames:.2f} %",
            )
            for tally in tallies
        ]
        parts.append(f"## {name}\n\n" + markdown(head, rows))
    parts.append(f"`{command_line(sys.argv)}`")
    parts.append(card_lines(card))
    write_results(output, "panning", document, page_of(parts))
    click.echo("\n\n".join(parts))


def _share(covered: int, faces: int) -> float | None:
    return covered / faces if faces else None
