"""Decode a data set once into one memory-mapped file, so that loading costs next to nothing.

A pack is a folder: `pixels.bin` holds the images as raw RGB one after another, `index.npz`
their sizes, offsets, labels and the faces a teacher found. It is read through a memory map, so
several processes share it and the page cache holds what is in use.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.detection.cores import usable_cores
from faceblur.errors import InputError, OutputError
from faceblur.files import atomic_path
from faceblur_export.data.image_files import RgbImage, open_image
from faceblur_export.data.labelled_image import LabelledImage

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]

FACE_WIDTH = 15
"""Columns of a stored face: x1 y1 x2 y2, weight, five landmarks (NaN: not labelled)."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One image of a pack.

    Attributes:
        name: Where it came from.
        width: Pixels.
        height: Pixels.
        labelled: Whether a person listed its faces.
        faces: (N, 15) float32: box x1 y1 x2 y2 in pixels, weight 0–1 (1 for a human label, the
            score of a teacher otherwise), five landmarks x y or NaN.
    """

    name: str
    width: int
    height: int
    labelled: bool
    faces: FloatArray


Item = TypeVar("Item")

Teach = Callable[[Entry, RgbImage], FloatArray]


class Pack:
    """Images and faces, opened for reading.

    Args:
        folder: What `write` made.

    Attributes:
        left_out: Names of the images that were left out when it was made.

    Raises:
        InputError: The folder is no pack, or its parts do not fit each other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            with np.load(folder / "index.npz", allow_pickle=False) as index:
                self._names = index["names"]
                self._sizes = index["sizes"]
                self._offsets = index["offsets"]
                self._labelled = index["labelled"]
                self._faces = index["faces"]
                self._starts = index["starts"]
                left_out = index.get("left_out", ())
            self._pixels: RgbImage = np.memmap(folder / "pixels.bin", np.uint8, "r")
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise InputError(
                f"{folder} is not a prepared data set ({error}); make it with faceblur-train pack"
            ) from error
        self.left_out = tuple(str(name) for name in left_out)
        if int(self._offsets[-1]) != len(self._pixels):
            raise InputError(f"{folder} is incomplete; make it again with faceblur-train pack")

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> tuple[type[Pack], tuple[Path]]:
        """Other processes open the files again instead of receiving the pixels."""
        return Pack, (self.folder,)

    def image(self, number: int) -> RgbImage:
        """(H, W, 3) uint8 RGB, read-only."""
        height, width = self._sizes[number]
        start = self._offsets[number]
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)

    def entry(self, number: int) -> Entry:
        """What is known about one image."""
        height, width = (int(v) for v in self._sizes[number])
        faces = self._faces[self._starts[number] : self._starts[number + 1]]
        return Entry(str(self._names[number]), width, height, bool(self._labelled[number]), faces)

    def entries(self) -> list[Entry]:
        """All entries in order."""
        return [self.entry(number) for number in range(len(self))]


def write(
    folder: Path,
    images: Sequence[LabelledImage],
    *,
    root: Path,
    side: int = 640,
    teach: Teach = lambda entry, _: entry.faces,
    left_out: Sequence[str] = (),
    progress: Callable[[Iterable[LabelledImage]], Iterable[LabelledImage]] = iter,
) -> Pack:
    """Decode images into a new pack, replacing an old one only when all went well.

    Args:
        folder: Where the pack goes.
        images: What `formats.read_folder` gave.
        root: Images are named relative to it, so that names are the same on every machine.
        side: Longest side that is kept, pixels; larger images are shrunk.
        teach: Gives the faces of an image, before it is shrunk, from what is known about it and
            its pixels (H, W, 3) uint8 RGB. Called in several threads at once.
        left_out: Names of images that the data set holds as well, for the record.
        progress: Wraps the images, to show how far it is.

    Raises:
        InputError: An image or a label cannot be used.
        OutputError: The pack cannot be written, e.g. because the disk is full.
    """
    work = partial(_decoded, root=root, side=side, teach=teach)
    return write_pack(folder, ahead(work, progress(images)), left_out=left_out)


def write_pack(
    folder: Path, items: Iterable[tuple[Entry, RgbImage]], *, left_out: Sequence[str] = ()
) -> Pack:
    """Write decoded images as a pack, replacing an old one only when all went well.

    Args:
        folder: Where the pack goes.
        items: What is known about each image, and its pixels (H, W, 3) uint8 RGB.
        left_out: Names of images that were left out, for the record.

    Raises:
        OutputError: The pack cannot be written, e.g. because the disk is full.
    """
    make_folder(folder)
    entries: list[Entry] = []
    index = folder / "index.npz"
    with (
        atomic_path(index) as index_part,
        # First the old index goes: a kill in between must not leave it with other pixels.
        atomic_path(
            folder / "pixels.bin", before_commit=lambda _: index.unlink(missing_ok=True)
        ) as pixels_part,
    ):
        with pixels_part.open("wb") as file:
            for entry, image in items:
                file.write(np.ascontiguousarray(image).tobytes())
                entries.append(entry)
        _write_index(index_part, entries, left_out)
    return Pack(folder)


def make_folder(folder: Path) -> None:
    """Make a folder for prepared data, unless it is there.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error


def shrunk(entry: Entry, image: RgbImage, side: int) -> tuple[Entry, RgbImage]:
    """An image (H, W, 3) of which no side is longer than `side` pixels, and its faces in it."""
    scale = side / max(entry.width, entry.height)
    if scale >= 1:
        return entry, image
    size = (max(1, round(entry.width * scale)), max(1, round(entry.height * scale)))
    image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    faces = entry.faces.copy()
    faces[:, :4] *= scale
    faces[:, 5:] *= scale
    return replace(entry, width=size[0], height=size[1], faces=faces), image


def _decoded(item: LabelledImage, root: Path, side: int, teach: Teach) -> tuple[Entry, RgbImage]:
    image = open_image(item.path)
    height, width = image.shape[:2]
    known = item.in_pixels(width, height)
    # Labels may lie beside the folder of the images, so the way there may lead up.
    name = Path(os.path.relpath(item.path, root)).as_posix()
    entry = Entry(name, width, height, item.labelled, face_rows(known))
    # Before it shrinks: a teacher finds more in a large image.
    return shrunk(replace(entry, faces=teach(entry, image)), image, side)


def ahead(
    work: Callable[[Item], tuple[Entry, RgbImage]], items: Iterable[Item]
) -> Iterator[tuple[Entry, RgbImage]]:
    """Do the work on all cores, a few items ahead, in order."""
    cores = usable_cores()
    with ThreadPoolExecutor(cores) as pool:
        coming: deque[Future[tuple[Entry, RgbImage]]] = deque()
        for item in items:
            coming.append(pool.submit(work, item))
            if len(coming) > 2 * cores:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def face_rows(image: LabelledImage) -> FloatArray:
    """The faces of an image as stored rows (N, 15), each of weight 1."""
    rows = np.full((len(image.boxes), FACE_WIDTH), np.nan, np.float32)
    rows[:, :4] = image.boxes
    rows[:, 4] = 1
    rows[:, 5:] = image.landmarks.reshape(-1, 10)
    return rows


def _write_index(path: Path, entries: Sequence[Entry], left_out: Sequence[str]) -> None:
    sizes = np.asarray([(entry.height, entry.width) for entry in entries], np.int64).reshape(-1, 2)
    faces = [entry.faces for entry in entries]
    np.savez(
        path,
        names=np.asarray([entry.name for entry in entries]),
        sizes=sizes,
        offsets=np.cumsum([0, *sizes.prod(1) * 3], dtype=np.int64),
        labelled=np.asarray([entry.labelled for entry in entries], np.bool_),
        faces=np.concatenate([np.zeros((0, FACE_WIDTH), np.float32), *faces]),
        starts=np.cumsum([0, *map(len, faces)], dtype=np.int64),
        left_out=np.asarray(left_out, np.str_),
    )
