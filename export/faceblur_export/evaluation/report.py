"""Write an evaluation down: JSON, a curve and a sheet of the worst misses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from faceblur.detection.letterbox import PAD_VALUE
from faceblur.files import atomic_path
from faceblur_export.data.image_files import open_image
from faceblur_export.data.sheet import captioned, write_sheet
from faceblur_export.evaluation.evaluation import precision_recall
from faceblur_export.evaluation.matching import MatchedFaces

TILE = 176
"""Side of a crop on the sheet of misses, pixels."""

COLUMNS, ROWS = 6, 4

FACTS_KEY = "faceblur-facts"
"""Text entry of a PNG that names the facts it was drawn from."""

_CONTEXT = 3.0


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a report in one step; keys keep their order, NaN is refused.

    Raises:
        OutputError: It cannot be written.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_figure(path: Path, figure: Figure, *, facts: str | None = None) -> None:
    """Write a figure as PNG in one step.

    `facts`, a digest of what it shows, is stored in the file under `FACTS_KEY`.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=110, metadata={FACTS_KEY: facts})


def curve_figure(models: Sequence[tuple[str, MatchedFaces, Mapping[str, Any]]]) -> Figure:
    """Precision over recall, and recall by face height, for one model or several.

    `models` has of each its name, what it found, and what `evaluation.evaluate` says of that.
    """
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, findings, report in models:
        precision, recall, scores = precision_recall(findings)
        line = left.plot(recall, precision, label=f"{name}: AP50 {report['ap50']:.3f}")[0]
        kept = int((scores > report["threshold"]).sum())
        if kept:
            left.plot(recall[kept - 1], precision[kept - 1], "o", color=line.get_color())
    left.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    left.set_title(f"dot: the threshold, {models[0][2]['threshold']:g}")
    left.grid(alpha=0.3)
    left.legend(loc="lower left")
    draw_recall_by_height(right, [(name, report["by_height"]) for name, _, report in models])
    return figure


def draw_recall_by_height(
    axes: Any, models: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]
) -> None:
    """Bars of recall at the threshold with their intervals, by face height, of models by name."""
    width = 0.8 / len(models)
    for number, (name, rows) in enumerate(models):
        known = [(place, row) for place, row in enumerate(rows) if row["recall"] is not None]
        recall, low, high = (
            np.array([row[key] for _, row in known])
            for key in ("recall", "recall_low", "recall_high")
        )
        # A percentile interval need not hold the estimate itself.
        spread = np.clip([recall - low, high - recall], 0, None)
        places = [place + width * number for place, _ in known]
        axes.bar(places, recall, width, yerr=spread, capsize=3, label=name)
    rows = models[0][1]
    middle = np.arange(len(rows)) + width * (len(models) - 1) / 2
    axes.set_xticks(middle, [f"{bin_name(row)} px\n{row['faces']} faces" for row in rows])
    axes.set(ylabel="recall at the threshold", ylim=(0, 1.02))
    axes.set_title("by face height in the frame given to the network")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower right")


def bin_name(row: Mapping[str, Any]) -> str:
    """How a height bin is written: `8–16` or `64+`."""
    return f"{row['min']:g}+" if row["max"] is None else f"{row['min']:g}–{row['max']:g}"


def worst_misses(findings: MatchedFaces, *, threshold: float, count: int) -> npt.NDArray[np.intp]:
    """Rows of the faces that a viewer would least forgive: not found, tallest first."""
    missed = np.flatnonzero(~findings.is_found(threshold))
    order = np.argsort(-findings.face_height[missed], kind="stable")
    return missed[order][:count]


def write_misses(path: Path, findings: MatchedFaces, *, threshold: float) -> None:
    """Write a PNG of the tallest missed faces, each with its height and best score.

    Raises:
        OutputError: It cannot be written.
    """
    tiles = []
    for face in worst_misses(findings, threshold=threshold, count=COLUMNS * ROWS):
        pixels = open_image(findings.images[findings.face_image[face]])
        score = findings.face_score[face]
        found = f"score {score:.2f}" if score >= 0 else "not found"
        caption = f"{findings.face_height[face]:.0f} px, {found}"
        tiles.append(captioned(_crop(pixels, findings.face_box[face]), caption))
    blank = np.full((TILE, TILE, 3), 255, np.uint8)
    write_sheet(path, tiles or [captioned(blank, "no face was missed")], columns=COLUMNS)


def _crop(pixels: npt.NDArray[np.uint8], box: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """A square of some context around a box, with the box drawn."""
    side = max(8.0, _CONTEXT * float((box[2:] - box[:2]).max()))
    scale = TILE / side
    corner = (box[:2] + box[2:]) / 2 - side / 2
    move = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    tile = cv2.warpAffine(pixels, move, (TILE, TILE), borderValue=(PAD_VALUE,) * 3)
    x1, y1, x2, y2 = (round(float(v)) for v in (box - np.tile(corner, 2)) * scale)
    cv2.rectangle(tile, (x1, y1), (x2, y2), (255, 64, 64), 1)
    return np.asarray(tile, np.uint8)
