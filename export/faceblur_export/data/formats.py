"""Read labelled and unlabelled images from the folder formats people have.

Five formats are told apart by what lies in the folder:

* `labels.txt`: path, count, then `x y w h name` lines (pixels);
* WIDER FACE as published: `wider_face_*_bbx_gt.txt` beside an `images` folder;
* the RetinaFace label file of WIDER FACE: `label.txt` with `# path` heads and five landmarks;
* YOLO: a `.txt` of the same stem, beside each image or in `labels/` beside `images/`;
* Pascal VOC: an `.xml` of the same stem, beside each image or in `annotations/`.

A folder with none of them is a set of images without labels, which a teacher can use; so are
images that a list leaves out.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from faceblur.errors import InputError
from faceblur_export.data.image_files import (
    IMAGE_FOLDERS,
    SUFFIXES,
    images_below,
    label_files,
    own_images,
)
from faceblur_export.data.labelled_image import LabelledImage

__all__ = ["LabelledImage", "read_folder"]

VOC_FOLDERS = ("Annotations", "annotations", "labels")
YOLO_FOLDERS = ("labels",)


def read_folder(folder: Path, *, strict: bool = True) -> list[LabelledImage]:
    """Read every image below a folder with its labels, in a stable order.

    Args:
        folder: A folder in one of the formats above, or one that holds several such folders.
        strict: Refuse the folder for a label that cannot be used, instead of noting it as the
            `problem` of its image.

    Raises:
        InputError: The folder is missing or holds no image, or a label cannot be used.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give one that holds images")
    images: dict[Path, LabelledImage] = {}
    for image in _read(folder):
        if strict and image.problem:
            raise InputError(image.problem)
        # WIDER FACE keeps labels and images in two folders: a label wins over none.
        if image.labelled or image.path not in images:
            images[image.path] = image
    if not images:
        raise InputError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    return sorted(images.values(), key=lambda p: p.path.as_posix())


def _read(folder: Path) -> Iterator[LabelledImage]:
    for name, finder, reader in _LISTED:
        lists = finder(folder)
        if lists:
            yield from (LabelledImage(path) for path in images_below(folder))
            for file in lists:
                yield from (replace(item, format=name) for item in reader(file, folder))
            return
    yield from _with_sidecars(folder, own_images(folder))
    inner = (p for p in folder.iterdir() if p.is_dir() and p.name not in IMAGE_FOLDERS)
    for child in sorted(inner):
        yield from _read(child)


def _with_sidecars(folder: Path, images: Sequence[Path]) -> Iterator[LabelledImage]:
    if not images:
        return
    xml = label_files(folder, images, suffix=".xml", beside=VOC_FOLDERS)
    txt = label_files(folder, images, suffix=".txt", beside=YOLO_FOLDERS)
    for image in images:
        if image in xml:
            yield _voc(image, xml[image])
        elif image in txt:
            yield _yolo(image, txt[image])
        else:
            yield LabelledImage(image)


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


Row = tuple[int, str]
"""A line of a label file and its number."""

Faces = tuple[Sequence[Sequence[float]], Sequence[Sequence[float]] | None]
"""Boxes x1 y1 x2 y2, and the ten numbers of the landmarks of each if the format has any."""


def _labelled(
    path: Path, source: str, read: Callable[[], Faces], *, normalised: bool = False
) -> LabelledImage:
    """An image with the faces that `read` gives, or with the problem that it has."""
    try:
        boxes, landmarks = read()
        if not path.is_file():
            raise InputError(f"{source}: the image {path} does not exist")
    except InputError as error:
        return LabelledImage(path, labelled=True, source=source, problem=str(error))
    points = np.full((len(boxes), 5, 2), np.nan, np.float32)
    if landmarks is not None and len(boxes):
        points = np.asarray(landmarks, np.float32).reshape(-1, 5, 2)
    table = np.asarray(boxes, np.float32).reshape(-1, 4)
    return LabelledImage(path, table, points, True, normalised, source)


def _counted(file: Path, root: Path) -> Iterator[LabelledImage]:
    """`path`, `count`, then that many lines starting with `x y w h`: ours and WIDER FACE's."""
    lines = [(n, line) for n, line in enumerate(_lines(file), 1) if line.strip()]
    if not lines:
        raise InputError(f"{file} is empty; list at least one image, or remove it")
    at = 0
    seen: set[str] = set()
    while at < len(lines):
        number, name = lines[at][0], lines[at][1].strip()
        source = f"{file.name} line {number}"
        if at + 1 >= len(lines) or not lines[at + 1][1].strip().isdecimal():
            raise InputError(f"{source}: expected the number of faces after “{name[:80]}”")
        if name in seen:
            raise InputError(f"{source}: {name} is listed a second time; put its faces together")
        seen.add(name)
        count = int(lines[at + 1][1])
        rows = lines[at + 2 : at + 2 + count]
        if len(rows) < count:
            raise InputError(f"{source}: {count} faces announced, {len(rows)} listed")
        yield _labelled(root / name, source, partial(_boxes, rows, file.name))
        at += 2 + count
        # WIDER FACE writes one row of zeros for an image without faces.
        if count == 0 and at < len(lines) and not lines[at][1].strip("0 .").strip():
            at += 1


def _boxes(rows: Sequence[Row], name: str) -> Faces:
    boxes = []
    for number, row in rows:
        where = f"{name} line {number}"
        box = _corners(_numbers(row, 4, where), where)
        # WIDER FACE lists some faces of no size.
        if box[2] > box[0] and box[3] > box[1]:
            boxes.append(box)
    return boxes, None


def _wider(file: Path, folder: Path) -> Iterator[LabelledImage]:
    split = "train" if "_train_" in file.name else "val"
    candidates = (
        folder / "images",
        folder / f"WIDER_{split}" / "images",
        folder.parent / f"WIDER_{split}" / "images",
    )
    return _counted(file, next((c for c in candidates if c.is_dir()), folder))


def _retinaface(file: Path, folder: Path) -> Iterator[LabelledImage]:
    """`# path` heads, then `x y w h` and five `x y flag` triples (−1: not labelled)."""
    root = folder / "images" if (folder / "images").is_dir() else folder
    name, source = "", ""
    rows: list[Row] = []
    for number, line in enumerate([*_lines(file), "#"], 1):
        if line.startswith("#"):
            if name:
                yield _labelled(root / name, source, partial(_marked, rows, file.name))
            name, source, rows = line[1:].strip(), f"{file.name} line {number}", []
        elif not line.strip():
            continue
        elif name:
            rows.append((number, line))
        else:
            raise InputError(f"{file.name} line {number}: a face before the first “# path” line")


def _marked(rows: Sequence[Row], name: str) -> Faces:
    boxes, points = [], []
    for number, row in rows:
        where = f"{name} line {number}"
        box = _corners(_numbers(row, 4, where), where)
        values = _numbers(row, 19, where) if len(row.split()) > 4 else [-1.0] * 19
        marks = [v for at in range(4, 19, 3) for v in values[at : at + 2]]
        if box[2] > box[0] and box[3] > box[1]:
            boxes.append(box)
            points.append(marks if min(marks) >= 0 else [math.nan] * 10)
    return boxes, points


def _yolo(image: Path, file: Path) -> LabelledImage:
    """`class x y w h` as fractions, and perhaps five landmarks (negative: not labelled)."""

    def read() -> Faces:
        boxes, points = [], []
        for number, line in enumerate(_lines(file), 1):
            if not line.strip():
                continue
            where = f"{file.name} line {number}"
            _, x, y, w, h = _numbers(line, 5, where)
            if max(abs(x), abs(y), w, h) > 2:
                raise InputError(
                    f"{where}: {x:g} {y:g} {w:g} {h:g} are not fractions; "
                    "YOLO labels give centre and size as parts of the image"
                )
            boxes.append(_corners([x - w / 2, y - h / 2, w, h], where))
            marks = _numbers(line, 15, where)[5:] if len(line.split()) >= 15 else [-1.0]
            points.append(marks if min(marks) >= 0 else [math.nan] * 10)
        return boxes, points

    found = _labelled(image, file.name, read, normalised=True)
    return replace(found, format="yolo")


def _voc(image: Path, file: Path) -> LabelledImage:
    def read() -> Faces:
        try:
            root = ElementTree.parse(file).getroot()
        except (ElementTree.ParseError, OSError) as error:
            raise InputError(f"{file} is not a Pascal VOC label: {error}") from error
        boxes = []
        # Not every bndbox: an object may have parts, such as hands, with boxes of their own.
        for number, node in enumerate(root.iterfind(".//object/bndbox"), 1):
            where = f"{file.name} face {number}"
            text = " ".join(node.findtext(tag, "") for tag in ("xmin", "ymin", "xmax", "ymax"))
            x1, y1, x2, y2 = _numbers(text, 4, where)
            boxes.append(_corners([x1, y1, x2 - x1, y2 - y1], where))
        return boxes, None

    return replace(_labelled(image, file.name, read), format="voc")


def _wider_lists(folder: Path) -> list[Path]:
    # As it is unpacked, the lists lie in a folder beside that of the images.
    split = folder.name.removeprefix("WIDER_")
    beside = folder / ".." / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt"
    if folder.name != split and beside.is_file():
        return [beside]
    return sorted(folder.glob("wider_face_*_bbx_gt.txt"))


_LISTED: tuple[
    tuple[str, Callable[[Path], list[Path]], Callable[[Path, Path], Iterator[LabelledImage]]], ...
] = (
    ("labels.txt", lambda folder: [*folder.glob("labels.txt")], _counted),
    ("wider", _wider_lists, _wider),
    ("retinaface", lambda folder: [*folder.glob("label.txt")], _retinaface),
)
