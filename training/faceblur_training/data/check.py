"""Look through a data set before training on it: counts, sizes, what is broken, a sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from faceblur.errors import InputError
from faceblur.files import atomic_path
from faceblur_export.data.formats import read_folder
from faceblur_export.data.image_files import RgbImage, open_image
from faceblur_export.data.labelled_image import LabelledImage
from faceblur_training.data.pack import FloatArray

HEIGHT_BINS = (0, 8, 16, 32, 64, 128, 256)
"""Lower ends of the bins of face heights, pixels."""

NAMED = 5
"""How many images without labels are named."""

SHEET_COLUMNS, SHEET_ROWS, SHEET_CELL, CAPTION = 6, 4, 240, 18


@dataclass(frozen=True)
class DataReport:
    """What a data set holds.

    Attributes:
        format: Names of the label formats found.
        images: Files found.
        labelled: Of these, with labels (an empty list of faces is a label too).
        without_faces: Labelled images without a face.
        faces: Labelled faces.
        with_landmarks: Faces with five landmarks.
        thin: Labels of less than a pixel, which are no faces.
        heights: Faces by height: (lowest height of the bin, faces).
        sizes: The most frequent image sizes: ((width, height), images).
        unlabelled: Names of the first images without labels.
        problems: One sentence per image or label that cannot be used.
    """

    format: str
    images: int
    labelled: int
    without_faces: int
    faces: int
    with_landmarks: int
    thin: int
    heights: tuple[tuple[int, int], ...]
    sizes: tuple[tuple[tuple[int, int], int], ...]
    unlabelled: tuple[str, ...]
    problems: tuple[str, ...]

    def lines(self) -> list[str]:
        """The report as text."""
        heights = " · ".join(f"{low}+ px: {count}" for low, count in self.heights if count)
        sizes = " · ".join(f"{w}×{h}: {count}" for (w, h), count in self.sizes)
        return [
            f"format        {self.format}",
            f"images        {self.images}, of which {self.labelled} labelled "
            f"and {self.images - self.labelled} unlabelled",
            f"faces         {self.faces}, {self.with_landmarks} with landmarks; "
            f"{self.without_faces} labelled images hold none"
            + f"; {self.thin} thinner than a pixel are left out"
            * bool(self.thin),
            *self._unlabelled_lines(),
            f"face heights  {heights or '–'}",
            f"sizes         {sizes or '–'}",
            f"problems      {len(self.problems)}",
            *(f"  {problem}" for problem in self.problems),
        ]

    def _unlabelled_lines(self) -> list[str]:
        more = self.images - self.labelled - len(self.unlabelled)
        # Where nothing is labelled, that is no oversight.
        if not self.labelled or not self.unlabelled:
            return []
        return [f"unlabelled    {', '.join(self.unlabelled)}{f' and {more} more' * bool(more)}"]


def check(folder: Path, *, sheet: Path | None = None) -> DataReport:
    """Open every image of a data set and compare it with its labels.

    Args:
        folder: In any format that `formats.read_folder` reads.
        sheet: Where to draw a sheet of samples with their faces, PNG.

    Raises:
        InputError: The folder or a label file cannot be read at all.
        OutputError: The sheet cannot be written.
    """
    images = read_folder(folder, strict=False)
    problems: list[str] = []
    sizes: Counter[tuple[int, int]] = Counter()
    heights: list[float] = []
    landmarks = 0
    empty = thin = 0
    samples = _Samples(len(images))
    for number, item in enumerate(images):
        try:
            if item.problem:
                raise InputError(item.problem)
            pixels = open_image(item.path)
            known = item.in_pixels(pixels.shape[1], pixels.shape[0])
        except InputError as error:
            problems.append(str(error))
            continue
        sizes[(pixels.shape[1], pixels.shape[0])] += 1
        heights += (known.boxes[:, 3] - known.boxes[:, 1]).tolist()
        landmarks += int(np.isfinite(known.landmarks).all((1, 2)).sum())
        empty += item.labelled and not len(known.boxes)
        thin += len(item.boxes) - len(known.boxes)
        samples.offer(number, pixels, known)
    if sheet is not None:
        samples.write(sheet)
    counts = np.histogram(heights, [*HEIGHT_BINS, np.inf])[0]
    return DataReport(
        format=", ".join(sorted({item.format for item in images if item.labelled})) or "none",
        images=len(images),
        labelled=sum(item.labelled for item in images),
        without_faces=empty,
        faces=len(heights),
        with_landmarks=landmarks,
        thin=thin,
        heights=tuple(zip(HEIGHT_BINS, (int(c) for c in counts), strict=True)),
        sizes=tuple(sizes.most_common(5)),
        unlabelled=tuple(
            item.path.relative_to(folder).as_posix() for item in images if not item.labelled
        )[:NAMED],
        problems=tuple(problems),
    )


class _Samples:
    """Images at even distances through the set, drawn with their faces."""

    def __init__(self, total: int) -> None:
        wanted = min(total, SHEET_COLUMNS * SHEET_ROWS)
        self._numbers = {int(n) for n in np.linspace(0, total - 1, wanted)}
        self._cells: list[RgbImage] = []

    def offer(self, number: int, pixels: RgbImage, known: LabelledImage) -> None:
        """Keep the image if it is one of those."""
        if number in self._numbers:
            name = known.path.name if known.labelled else f"{known.path.name}: unlabelled"
            self._cells.append(draw_cell(pixels, known.boxes, name))

    def write(self, path: Path) -> None:
        """Put the cells together and write them as PNG."""
        with atomic_path(path) as part:
            part.write_bytes(encode_sheet(self._cells, columns=SHEET_COLUMNS))


def draw_cell(
    pixels: RgbImage, boxes: FloatArray, caption: str, *, side: int = SHEET_CELL
) -> RgbImage:
    """An image (H, W, 3) fitted into a cell with red boxes around its faces, and its caption."""
    scale = side / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    cell = np.full((side + CAPTION, side, 3), 30, np.uint8)
    cell[: size[1], : size[0]] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    for x1, y1, x2, y2 in (boxes[:, :4] * scale).round().astype(int).tolist():
        cv2.rectangle(cell, (x1, y1), (x2, y2), (255, 40, 40), 1)
    cell[side:] = 255
    # OpenCV's font has no other letters.
    text = caption.encode("ascii", "replace").decode()[-32:]
    cv2.putText(
        cell, text, (4, side + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA
    )
    return cell


def encode_sheet(cells: Sequence[RgbImage], *, columns: int) -> bytes:
    """Equal cells row by row as one PNG.

    Raises:
        InputError: There are no cells.
    """
    if not cells:
        raise InputError("no image could be opened, so there is nothing to draw")
    blank = np.zeros_like(cells[0])
    padded = [*cells, *[blank] * (-len(cells) % columns)]
    rows = [np.hstack(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    _, data = cv2.imencode(".png", cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))
    return data.tobytes()
