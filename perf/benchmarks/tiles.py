"""How many small faces tiles find in large images, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
import cv2
import numpy as np
import numpy.typing as npt

from faceblur.boxes import box_iou
from faceblur.detection import models
from faceblur.detection.detect import detect
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD, DetectionOptions, Tiles
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.detection.tiling import plan_views
from faceblur.detections import Detections
from faceblur_export.data.formats import LabelledImage, read_folder
from harness import card_lines, machine_card, markdown, page_of, write_results

HEIGHTS: Final = (12, 16, 24, 32, 48, 96, 10_000)
MIN_IOU: Final = 0.4
GREY: Final = 114
WAYS: Final[tuple[Tiles, ...]] = ("off", "auto", "fine")

Boxes = npt.NDArray[np.float64]


@dataclass
class Tally:
    """What one setting of tiles found in all large images.

    Attributes:
        tiles: The way.
        views: Of one canvas.
        canvases: How many.
        cpu_s: For all of them.
        faces: Labelled faces by height.
        found: Those of them that were found.
        extra: Boxes on nothing labelled.
    """

    tiles: str
    views: int
    canvases: int
    cpu_s: float
    faces: list[int]
    found: list[int]
    extra: int


@click.command("tiles")
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option("--width", default=4000, show_default=True, help="Of the canvases, pixels.")
@click.option("--height", default=3000, show_default=True)
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def tiles(*, folders: tuple[Path, ...], width: int, height: int, model: str, output: Path) -> None:
    """Paste the labelled images of FOLDERS side by side into large ones and look for the faces.

    A photo of 12 megapixels with many small faces, each labelled, is hard to come by. Images
    are pasted at their own size; what one shows beside its labels counts as extra.
    """
    onnx, info = models.find(model)
    card = machine_card() | {"model": info.name, "sha256": info.sha256, "size": DEFAULT_SIZE}
    card |= {"threshold": DEFAULT_THRESHOLD, "image": f"{width} × {height}"}
    detector = InProcessDetector(onnx, instances=1, threads=1, model=info)
    tables = {}
    for folder in folders:
        tallies = [Tally(way, 0, 0, 0.0, *([0] * len(HEIGHTS) for _ in "ab"), 0) for way in WAYS]
        for canvas, boxes in canvases(read_folder(folder), width, height):
            # In turns, so that a machine whose speed drifts is as unfair to each.
            for tally in tallies:
                _add(tally, canvas, boxes, detector)
        tables[folder.name] = tallies
    detector.close()
    _write(output, card, tables)


def canvases(
    images: Sequence[LabelledImage], width: int, height: int
) -> Iterator[tuple[npt.NDArray[np.uint8], Boxes]]:
    """Fill large images row by row, with the labels of what is in them."""
    canvas, boxes = np.full((height, width, 3), GREY, np.uint8), []
    x = y = row = 0
    for image in images:
        pixels = cv2.imread(str(image.path))
        down, across = pixels.shape[:2]
        if x + across > width:
            x, y, row = 0, y + row, 0
        if y + down > height:
            yield canvas, np.concatenate(boxes)
            canvas, boxes = np.full((height, width, 3), GREY, np.uint8), []
            x = y = row = 0
        canvas[y : y + down, x : x + across] = pixels
        boxes.append(image.boxes.reshape(-1, 4) + np.array([x, y, x, y], np.float64))
        x, row = x + across, max(row, down)
    if boxes:
        yield canvas, np.concatenate(boxes)


def _add(
    tally: Tally, canvas: npt.NDArray[np.uint8], boxes: Boxes, detector: InProcessDetector
) -> None:
    way: Tiles = tally.tiles  # type: ignore[assignment]
    tally.views = len(plan_views(canvas.shape[1], canvas.shape[0], size=DEFAULT_SIZE, tiles=way))
    tally.canvases += 1
    started = time.process_time()
    faces = detect(detector, canvas, DetectionOptions(tiles=way, deadline_s=60))
    tally.cpu_s += time.process_time() - started
    found, extra = _matched(faces, boxes)
    tally.extra += extra
    for index, box in enumerate(boxes):
        group = next(i for i, limit in enumerate(HEIGHTS) if box[3] - box[1] < limit)
        tally.faces[group] += 1
        tally.found[group] += bool(found[index])


def _matched(faces: Detections, boxes: Boxes) -> tuple[npt.NDArray[np.bool_], int]:
    """Which labels are found, each detection counting for one; and how many are on none."""
    found, extra = np.zeros(len(boxes), np.bool_), 0
    for index in np.argsort(-faces.scores):
        (iou,) = box_iou(faces.boxes[index], boxes)
        free = np.where(found, 0, iou)
        if free.max(initial=0) >= MIN_IOU:
            found[free.argmax()] = True
        else:
            extra += int(iou.max(initial=0) < MIN_IOU)
    return found, extra


def _write(output: Path, card: dict[str, object], tables: dict[str, list[Tally]]) -> None:
    document = {"card": card, "heights": HEIGHTS} | {
        name: [asdict(tally) for tally in tallies] for name, tallies in tables.items()
    }
    lows = (0, *HEIGHTS[:-1])
    columns = [f"{a}-{b} px" for a, b in zip(lows, HEIGHTS[:-1], strict=False)]
    heights = " | ".join([*columns, f"{HEIGHTS[-2]}+ px"])
    head = f"`--tiles` | views | CPU seconds | {heights} | boxes without a label"
    parts = [
        "# Small faces in large images",
        "Labelled images pasted side by side at full size. Recall by the height of a face in the "
        "large image (labelled faces in brackets), IoU 0.4. CPU seconds are for one large image.",
    ]
    for name, tallies in tables.items():
        rows = []
        for tally in tallies:
            cells = [
                f"{found / faces:.2f} ({faces})" if faces else "-"
                for found, faces in zip(tally.found, tally.faces, strict=True)
            ]
            start = (tally.tiles, tally.views, f"{tally.cpu_s / tally.canvases:.2f}")
            rows.append((*start, *cells, tally.extra))
        parts.append(f"## {name}\n\n" + markdown(head, rows))
    parts.append(card_lines(card))
    parts.append("Reproduce: `perf/run tiles DATA/eval/masks DATA/eval/wider`")
    write_results(output, "tiles", document, page_of(parts))
    click.echo("\n\n".join(parts))
