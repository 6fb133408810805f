"""Look through a data set before training on it: counts, sizes, what is broken, a sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from faceblur.errors import InputError
from faceblur_export.data.formats import read_folder
from faceblur_export.data.image_files import RgbImage, open_image
from faceblur_export.data.labelled_image import LabelledImage
from faceblur_export.data.sheet import captioned, write_sheet
from faceblur_training.data.duplicates import duplicates

HEIGHT_BINS = (0, 8, 16, 32, 64, 128, 256)
"""Lower ends of the bins of face heights, pixels."""

NAMED = 5
"""How many images without labels are named."""

SHEET_COLUMNS, SHEET_ROWS, SHEET_CELL = 6, 4, 240


def check(
    folder: Path, *, sheet: Path | None = None, against: Sequence[Path] = ()
) -> tuple[list[str], list[str]]:
    """Open every image of a data set and compare it with its labels.

    Args:
        folder: In any format that `formats.read_folder` reads.
        sheet: Where to draw a sheet of samples with their faces, PNG.
        against: Folders of images that must not be trained on, to name copies of.

    Returns:
        A report, line by line, and of that a sentence for each image or label that cannot be used.

    Raises:
        InputError: The folder or a label file cannot be read at all.
        OutputError: The sheet cannot be written.
    """
    images = read_folder(folder, strict=False)
    usable: list[Path] = []
    problems: list[str] = []
    sizes: Counter[tuple[int, int]] = Counter()
    heights: list[float] = []
    marked = empty = thin = 0
    # Samples lie at even distances through the set.
    wanted = np.linspace(0, len(images) - 1, min(len(images), SHEET_COLUMNS * SHEET_ROWS))
    sampled = {int(number) for number in wanted}
    cells: list[RgbImage] = []
    for number, item in enumerate(images):
        try:
            if item.problem:
                raise InputError(item.problem)
            pixels = open_image(item.path)
            known = item.in_pixels(pixels.shape[1], pixels.shape[0])
        except InputError as error:
            problems.append(str(error))
            continue
        usable.append(item.path)
        sizes[(pixels.shape[1], pixels.shape[0])] += 1
        heights += (known.boxes[:, 3] - known.boxes[:, 1]).tolist()
        marked += int(np.isfinite(known.landmarks).all((1, 2)).sum())
        empty += item.labelled and not len(known.boxes)
        thin += len(item.boxes) - len(known.boxes)
        if sheet is not None and number in sampled:
            cells.append(_cell(pixels, known))
    if sheet is not None:
        if not cells:
            raise InputError("no image could be opened, so there is nothing to draw")
        write_sheet(sheet, cells, columns=SHEET_COLUMNS)
    counts = np.histogram(heights, [*HEIGHT_BINS, np.inf])[0]
    by_height = " · ".join(
        f"{low}+ px: {count}" for low, count in zip(HEIGHT_BINS, counts, strict=True) if count
    )
    by_size = " · ".join(f"{w}×{h}: {count}" for (w, h), count in sizes.most_common(5))
    formats = ", ".join(sorted({item.format for item in images if item.labelled})) or "none"
    unlabelled = [i.path.relative_to(folder).as_posix() for i in images if not i.labelled]
    labelled = len(images) - len(unlabelled)
    left_out = f"; {thin} thinner than a pixel are left out" if thin else ""
    lines = [
        f"format        {formats}",
        f"images        {len(images)}, of which {labelled} labelled "
        f"and {len(unlabelled)} unlabelled",
        f"faces         {len(heights)}, {marked} with landmarks; "
        f"{empty} labelled images hold none{left_out}",
    ]
    # Where nothing is labelled, that is no oversight.
    if labelled and unlabelled:
        more = f" and {len(unlabelled) - NAMED} more" if len(unlabelled) > NAMED else ""
        lines.append(f"unlabelled    {', '.join(unlabelled[:NAMED])}{more}")
    for other in against:
        pairs = duplicates(usable, [item.path for item in read_folder(other)])
        lines += [f"copy          {one} of {two}" for one, two in pairs]
    lines += [
        f"face heights  {by_height or '–'}",
        f"sizes         {by_size or '–'}",
        f"problems      {len(problems)}",
        *(f"  {problem}" for problem in problems),
    ]
    return lines, problems


def _cell(pixels: RgbImage, known: LabelledImage) -> RgbImage:
    """An image (H, W, 3) fitted into a cell with red boxes around its faces, and its name."""
    scale = SHEET_CELL / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    cell = np.full((SHEET_CELL, SHEET_CELL, 3), 30, np.uint8)
    cell[: size[1], : size[0]] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    for x1, y1, x2, y2 in (known.boxes * scale).round().astype(int).tolist():
        cv2.rectangle(cell, (x1, y1), (x2, y2), (255, 40, 40), 1)
    return captioned(cell, known.path.name + ("" if known.labelled else ": unlabelled"))
