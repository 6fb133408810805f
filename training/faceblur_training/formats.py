"""Read labelled and unlabelled pictures from the folder formats people have.

Five formats are told apart by what lies in the folder:

* `labels.txt`: path, count, then `x y w h name` lines (pixels);
* WIDER FACE as published: `wider_face_*_bbx_gt.txt` beside an `images` folder;
* the RetinaFace label file of WIDER FACE: `label.txt` with `# path` heads and five landmarks;
* YOLO: a `.txt` of the same stem, beside each picture or in `labels/` beside `images/`;
* Pascal VOC: an `.xml` of the same stem, beside each picture or in `annotations/`.

A folder with none of them is a set of pictures without labels, which a teacher can use.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceblur.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
"""Picture files that training opens."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """One picture file and what is known about its faces.

    Attributes:
        path: The file.
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the file.
        landmarks: (N, 5, 2) float32 in the same frame, NaN where they are not labelled.
        labelled: Whether a person listed the faces; false means "unknown", not "none".
        normalised: Boxes are fractions of the picture's width and height (YOLO files).
        source: Where the label stands, for messages.
    """

    path: Path
    boxes: FloatArray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    landmarks: FloatArray = field(default_factory=lambda: np.zeros((0, 5, 2), np.float32))
    labelled: bool = False
    normalised: bool = False
    source: str = ""

    def in_pixels(self, width: int, height: int) -> LabelledPicture:
        """The same picture with boxes in pixels, checked against its size.

        Boxes that reach over the border by no more than a tenth of the picture are clipped.

        Raises:
            InputError: A box has no area or lies outside the picture.
        """
        boxes, points = self.boxes, self.landmarks
        if self.normalised:
            boxes = boxes * np.asarray([width, height, width, height], np.float32)
            points = points * np.asarray([width, height], np.float32)
        limit = np.asarray([width, height, width, height], np.float32)
        slack = 0.1 * limit + 2
        for box in boxes:
            if (box < -slack).any() or (box > limit + slack).any():
                raise InputError(
                    f"{self.source}: the box {_pretty(box)} lies outside {self.path.name} of "
                    f"{width} × {height} pixels; correct or remove that line"
                )
        clipped = np.clip(boxes, 0, limit).astype(np.float32)
        keep = (clipped[:, 2:] - clipped[:, :2] >= 1).all(1)
        return LabelledPicture(
            self.path, clipped[keep], points[keep], self.labelled, False, self.source
        )


def read_folder(folder: Path) -> list[LabelledPicture]:
    """Read every picture below a folder with its labels, in a stable order.

    Args:
        folder: A folder in one of the formats above, or one that holds several such folders.

    Raises:
        InputError: The folder is missing or holds no picture, or a label cannot be used.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give one that holds pictures")
    pictures: dict[Path, LabelledPicture] = {}
    for picture in _read(folder):
        # WIDER FACE keeps labels and pictures in two folders: a label wins over none.
        if picture.labelled or picture.path not in pictures:
            pictures[picture.path] = picture
    if not pictures:
        raise InputError(f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return sorted(pictures.values(), key=lambda p: p.path.as_posix())


def format_of(folder: Path) -> str:
    """Name of the format that `read_folder` sees in this very folder."""
    for name, finder, _ in _LISTED:
        if finder(folder):
            return name
    if _sidecars(folder, ".xml", ("annotations", "Annotations", "labels")):
        return "voc"
    if _sidecars(folder, ".txt", ("labels",)):
        return "yolo"
    return "unlabelled"


def _read(folder: Path) -> Iterator[LabelledPicture]:
    for _, finder, reader in _LISTED:
        lists = finder(folder)
        if lists:
            for file in lists:
                yield from reader(file)
            return
    own = _pictures_of(folder)
    if own:
        yield from _with_sidecars(folder, own)
    for child in sorted(p for p in folder.iterdir() if p.is_dir() and p.name != "images"):
        if any(child.rglob("*")):
            yield from _read(child)


def _pictures_of(folder: Path) -> list[Path]:
    own = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES]
    images = folder / "images"
    if images.is_dir():
        own += [p for p in images.rglob("*") if p.suffix.lower() in SUFFIXES]
    return sorted(own)


def _with_sidecars(folder: Path, pictures: Sequence[Path]) -> Iterator[LabelledPicture]:
    xml = _sidecars(folder, ".xml", ("annotations", "Annotations", "labels"))
    txt = {} if xml else _sidecars(folder, ".txt", ("labels",))
    for picture in pictures:
        if picture.stem in xml:
            yield _voc(picture, xml[picture.stem])
        elif picture.stem in txt:
            yield _yolo(picture, txt[picture.stem])
        else:
            yield LabelledPicture(picture)


def _sidecars(folder: Path, suffix: str, beside: tuple[str, ...]) -> dict[str, Path]:
    places = [folder, folder / "images", *(folder / name for name in beside)]
    files = [f for place in places if place.is_dir() for f in place.rglob(f"*{suffix}")]
    stems = {p.stem for p in _pictures_of(folder)}
    return {f.stem: f for f in files if f.stem in stems}


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as text: {error}") from error


def _numbers(text: str, count: int, source: str) -> list[float]:
    words = text.split()
    try:
        values = [float(word) for word in words[:count]]
    except ValueError:
        values = []
    if len(values) < count or not all(math.isfinite(v) for v in values):
        raise InputError(f"{source}: expected {count} numbers and found “{text.strip()[:60]}”")
    return values


def _corners(values: Sequence[float], source: str) -> list[float]:
    x, y, w, h = values
    if w < 0 or h < 0:
        raise InputError(
            f"{source}: a face of size {w:g} × {h:g}; width and height must be positive"
        )
    return [x, y, x + w, y + h]


def _picture(
    path: Path,
    boxes: Sequence[Sequence[float]],
    source: str,
    *,
    landmarks: Sequence[Sequence[float]] | None = None,
    normalised: bool = False,
) -> LabelledPicture:
    if not path.is_file():
        raise InputError(f"{source}: the picture {path} does not exist")
    points = np.full((len(boxes), 5, 2), np.nan, np.float32)
    if landmarks is not None and len(boxes):
        points = np.asarray(landmarks, np.float32).reshape(-1, 5, 2)
    table = np.asarray(boxes, np.float32).reshape(-1, 4)
    return LabelledPicture(path, table, points, True, normalised, source)


def _counted(file: Path, root: Path) -> Iterator[LabelledPicture]:
    """`path`, `count`, then that many lines starting with `x y w h`: ours and WIDER FACE's."""
    lines = [line for line in _lines(file) if line.strip()]
    if not lines:
        raise InputError(f"{file} is empty; list at least one picture, or remove it")
    at = 0
    while at < len(lines):
        name, source = lines[at].strip(), f"{file.name} line {at + 1}"
        if at + 1 >= len(lines) or not lines[at + 1].strip().isdigit():
            raise InputError(f"{source}: expected the number of faces after “{name[:80]}”")
        count = int(lines[at + 1])
        rows = lines[at + 2 : at + 2 + count]
        if len(rows) < count:
            raise InputError(f"{source}: {count} faces announced, {len(rows)} listed")
        boxes = []
        for index, row in enumerate(rows):
            where = f"{file.name} line {at + 3 + index}"
            box = _corners(_numbers(row, 4, where), where)
            if box[2] > box[0] and box[3] > box[1]:
                boxes.append(box)
        at += 2 + count
        # WIDER FACE writes one row of zeros for a picture without faces.
        if count == 0 and at < len(lines) and not lines[at].strip("0 .").strip():
            at += 1
        yield _picture(root / name, boxes, source)


def _wider(file: Path) -> Iterator[LabelledPicture]:
    folder = file.parent
    split = "train" if "_train_" in file.name else "val"
    candidates = (
        folder / "images",
        folder / f"WIDER_{split}" / "images",
        folder.parent / f"WIDER_{split}" / "images",
        folder,
    )
    root = next((c for c in candidates if c.is_dir()), folder)
    return _counted(file, root)


def _retinaface(file: Path) -> Iterator[LabelledPicture]:
    """`# path` heads, then `x y w h` and five `x y flag` triples (−1: not labelled)."""
    root = file.parent / "images" if (file.parent / "images").is_dir() else file.parent
    name, source = "", ""
    boxes: list[list[float]] = []
    points: list[list[float]] = []
    for number, line in enumerate([*_lines(file), "# "], 1):
        if line.startswith("#"):
            if name:
                yield _picture(root / name, boxes, source, landmarks=points)
            name, source = line[1:].strip(), f"{file.name} line {number}"
            boxes, points = [], []
        elif line.strip():
            where = f"{file.name} line {number}"
            values = _numbers(line, min(19, len(line.split())), where)
            box = _corners(_numbers(line, 4, where), where)
            triples = values[4:19] if len(values) >= 19 else [-1.0] * 15
            marks = [v for i in range(5) for v in triples[3 * i : 3 * i + 2]]
            if box[2] > box[0] and box[3] > box[1]:
                boxes.append(box)
                points.append(marks if min(marks) >= 0 else [math.nan] * 10)


def _yolo(picture: Path, file: Path) -> LabelledPicture:
    """`class x y w h` as fractions, and perhaps five landmarks (negative: not labelled)."""
    boxes, points = [], []
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        where = f"{file.name} line {number}"
        _, x, y, w, h = _numbers(line, 5, where)
        if max(abs(x), abs(y), w, h) > 2:
            raise InputError(
                f"{where}: {x:g} {y:g} {w:g} {h:g} are not fractions; "
                "YOLO labels give centre and size as parts of the picture"
            )
        boxes.append(_corners([x - w / 2, y - h / 2, w, h], where))
        marks = _numbers(line, 15, where)[5:] if len(line.split()) >= 15 else [-1.0]
        points.append(marks if min(marks) >= 0 else [math.nan] * 10)
    return _picture(picture, boxes, file.name, landmarks=points, normalised=True)


def _voc(picture: Path, file: Path) -> LabelledPicture:
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise InputError(f"{file} is not a Pascal VOC label: {error}") from error
    boxes = []
    for number, node in enumerate(root.iter("bndbox"), 1):
        where = f"{file.name} face {number}"
        text = " ".join(node.findtext(tag, "") for tag in ("xmin", "ymin", "xmax", "ymax"))
        x1, y1, x2, y2 = _numbers(text, 4, where)
        boxes.append(_corners([x1, y1, x2 - x1, y2 - y1], where))
    return _picture(picture, boxes, file.name)


def _ours(folder: Path) -> list[Path]:
    file = folder / "labels.txt"
    return [file] if file.is_file() else []


def _wider_lists(folder: Path) -> list[Path]:
    return sorted(folder.glob("wider_face_*_bbx_gt.txt"))


def _retinaface_lists(folder: Path) -> list[Path]:
    file = folder / "label.txt"
    return [file] if file.is_file() else []


_LISTED: tuple[
    tuple[str, Callable[[Path], list[Path]], Callable[[Path], Iterator[LabelledPicture]]], ...
] = (
    ("labels.txt", _ours, lambda file: _counted(file, file.parent)),
    ("wider", _wider_lists, _wider),
    ("retinaface", _retinaface_lists, _retinaface),
)


def _pretty(box: npt.NDArray[np.float32]) -> str:
    return " ".join(f"{v:g}" for v in box)
