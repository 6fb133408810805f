"""How surely `faceblur verify` tells a masked face from one that is not, however compressed."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, get_args

import av
import click
import cv2
import numpy as np
import numpy.typing as npt

from faceblur.detection import models
from faceblur.detection.detect import detect
from faceblur.detection.detector import Detector
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.options import DEFAULT_THRESHOLD, DetectionOptions
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.detections import Detections
from faceblur.image.pixels import BgrImage
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskMode, MaskStyle
from faceblur.masks.surface import ArraySurface
from faceblur.proof.verify.judging import judge_alone, judge_beside
from harness import card_lines, machine_card, markdown, page_of, write_results

Encode = Callable[[list[BgrImage]], list[BgrImage]]

SURE: Final = 0.3
"""Faces below it are not counted: near the threshold an encoder decides."""

FIRST: Final = 30
"""Frames of a clip that are skipped: many begin without people."""

JPEG: Final = (95, 60, 25, 10)
CRF: Final = (18, 28, 36, 44)
NOTHING: Final = np.zeros((0, 4), np.float32)
HEIGHTS: Final = (16, 24, 32, 48, 100_000)


@dataclass
class Count:
    """Faces in one rendition.

    Attributes:
        faces: Sure faces of the source.
        beside: Of those, reported beside the source.
        alone: Boxes on or off faces that are reported in the output alone.
    """

    faces: int = 0
    beside: int = 0
    alone: int = 0


@dataclass(frozen=True)
class _Counts:
    """Where the faces of one mask and one encoding are counted."""

    all: dict[tuple[str, str, int], Count]
    mask: str
    way: str

    def __call__(self, below_px: int) -> Count:
        return self.all[self.mask, self.way, below_px]


@click.command("verify")
@click.option("--images", type=click.Path(path_type=Path, exists=True), help="A folder.")
@click.argument("clips", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--most", default=60, show_default=True, help="Images, at most.")
@click.option("--frames", default=6, show_default=True, help="Of each clip.")
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def verifying(
    *,
    images: Path | None,
    clips: tuple[Path, ...],
    most: int,
    frames: int,
    model: str,
    output: Path,
) -> None:
    """Mask the faces of images and CLIPS in every way, compress them, and verify them.

    Unmasked renditions must be reported, masked ones must not.
    """
    onnx, info = models.find(model)
    detector = InProcessDetector(onnx, instances=1, threads=1, model=info)
    counts: dict[tuple[str, str, int], Count] = defaultdict(Count)
    for kind, sources in _sources(images, clips, most, frames):
        ways = {f"H.264 crf {crf}": _h264(crf) for crf in CRF}
        if kind == "image":
            ways = {f"JPEG {quality}": _jpeg(quality) for quality in JPEG} | ways
        _measure(sources, ways, detector, counts)
    detector.close()
    _write(output, machine_card() | {"model": info.name, "sha256": info.sha256}, counts)


def _sources(
    images: Path | None, clips: tuple[Path, ...], most: int, frames: int
) -> Iterator[tuple[str, list[BgrImage]]]:
    if images is not None:
        for path in sorted(images.rglob("*.jpg"))[:most]:
            yield "image", [np.asarray(cv2.imread(str(path)), np.uint8)]
    for clip in clips:
        with av.open(str(clip)) as container:
            decoded = (frame.to_ndarray(format="bgr24") for frame in container.decode(video=0))
            yield "video", list(islice(decoded, FIRST, FIRST + frames))


def _measure(
    sources: list[BgrImage],
    ways: dict[str, Encode],
    detector: Detector,
    counts: dict[tuple[str, str, int], Count],
) -> None:
    found = [detect(detector, image, DetectionOptions()) for image in sources]
    for mask in ("none", *get_args(MaskMode)):
        masked = [_masked(p, f, mask) for p, f in zip(sources, found, strict=True)]
        for way, encode in ways.items():
            for source, faces, result in zip(sources, found, encode(masked), strict=True):
                _judge(source, faces, result, detector, _Counts(counts, mask, way))


def _judge(
    source: BgrImage,
    faces: Detections,
    result: BgrImage,
    detector: Detector,
    count_of: _Counts,
) -> None:
    before, after = (cv2.cvtColor(p, cv2.COLOR_BGR2GRAY) for p in (source, result))
    _, verdicts = judge_beside(before, after, faces, Detections.empty(), NOTHING)
    for verdict in verdicts:
        if verdict.score is not None and verdict.score >= SURE:
            count = count_of(_group(verdict.box))
            count.faces += 1
            count.beside += bool(verdict.shows)
    again = detect(detector, result, DetectionOptions())
    for verdict in judge_alone(after, again, NOTHING, mode=None):
        on_face = _touches(verdict.box, faces.boxes[faces.scores >= SURE])
        if verdict.shows and on_face:
            count_of(_group(verdict.box)).alone += 1


def _masked(image: BgrImage, faces: Detections, mask: str) -> BgrImage:
    copy = image.copy()
    if mask == "none":
        return copy
    modes: dict[str, MaskMode] = {mode: mode for mode in get_args(MaskMode)}
    overlay = cv2.resize(np.arange(192, dtype=np.uint8).reshape(8, 8, 3), (64, 64))
    Masker(MaskStyle(mode=modes[mask], image=overlay)).apply(ArraySurface(copy), faces)
    return copy


def _jpeg(quality: int) -> Encode:
    def encode(images: list[BgrImage]) -> list[BgrImage]:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        data = [cv2.imencode(".jpg", image, options)[1] for image in images]
        return [np.asarray(cv2.imdecode(each, cv2.IMREAD_COLOR), np.uint8) for each in data]

    return encode


def _h264(crf: int) -> Encode:
    def encode(images: list[BgrImage]) -> list[BgrImage]:
        height, width = (side // 2 * 2 for side in images[0].shape[:2])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "clip.mp4")
            with av.open(str(path), "w") as output:
                stream: Any = output.add_stream("libx264", rate=25, options={"crf": str(crf)})
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                for image in images:
                    part = np.ascontiguousarray(image[:height, :width])
                    output.mux(stream.encode(av.VideoFrame.from_ndarray(part, "bgr24")))
                output.mux(stream.encode(None))
            with av.open(str(path)) as container:
                decoded = [f.to_ndarray(format="bgr24") for f in container.decode(video=0)]
        pad = (images[0].shape[0] - height, images[0].shape[1] - width)
        margins = ((0, pad[0]), (0, pad[1]), (0, 0))
        return [np.asarray(np.pad(each, margins, mode="edge"), np.uint8) for each in decoded]

    return encode


def _group(box: npt.NDArray[np.float32]) -> int:
    return next(limit for limit in HEIGHTS if box[3] - box[1] < limit)


def _touches(box: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> bool:
    middle = (box[:2] + box[2:]) / 2
    return bool(((others[:, :2] < middle) & (middle < others[:, 2:])).all(axis=1).any())


def _write(
    output: Path, card: dict[str, object], counts: dict[tuple[str, str, int], Count]
) -> None:
    rows = [
        {"mask": mask, "encoding": way, "below_px": height, **vars(count)}
        for (mask, way, height), count in counts.items()
    ]
    document = {"card": card, "sure": SURE, "threshold": DEFAULT_THRESHOLD, "rows": rows}
    parts = [
        "# What `faceblur verify` finds",
        f"Every face with a score of {SURE} or more, masked or not, after an encoder. With the "
        "source: faces reported as still shown. Alone: faces reported in the output by itself, by "
        "their boxes; doubtful ones count too, so there can be more reports than faces. `none` "
        "must be reported; all else must not be.",
    ]
    for title, value in (("With the source", "beside"), ("The output alone", "alone")):
        parts.append(f"## {title}\n\n{_table(counts, value)}")
    parts.append(card_lines(card))
    parts.append("Images are encoded as JPEG, and as the first frame of a video; clips as videos.")
    parts.append("Reproduce: `perf/run verify --frames 10 --images DATA/eval/masks MEDIA/*.m??`")
    write_results(output, "verify", document, page_of(parts))
    click.echo("\n\n".join(parts))


def _table(counts: dict[tuple[str, str, int], Count], value: str) -> str:
    lows = (0, *HEIGHTS[:-1])
    names = [f"{a}-{b} px" for a, b in zip(lows, HEIGHTS[:-1], strict=False)]
    rows = []
    for mask, way in dict.fromkeys(key[:2] for key in counts):
        cells = [counts.get((mask, way, height), Count()) for height in HEIGHTS]
        rows.append((mask, way, *(f"{getattr(c, value)}/{c.faces}" for c in cells)))
    head = " | ".join(("mask", "encoded", *names, f"{HEIGHTS[-2]}+ px"))
    return markdown(head, rows, left=(0, 1))
