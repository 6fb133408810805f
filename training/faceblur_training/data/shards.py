"""A pack squeezed into a few small files, to carry it to a machine with a GPU.

Each part holds some of the images as WebP with all that is known about their faces, so that a
part alone is a smaller data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.errors import InputError
from faceblur.files import atomic_path
from faceblur_export.data.image_files import RgbImage
from faceblur_training.data.pack import Entry, Pack, ahead, make_folder, shrunk, write_pack

PATTERN = "part-*.npz"

PART_OVERHEAD, OVERHEAD = 4096, 17
"""Bytes of a part, and of an image in it, beside its pixels, faces and name."""

_Item = tuple[Entry, npt.NDArray[np.uint8]]
"""What is known about an image, and the image as WebP."""


def write_shards(
    pack: Pack, folder: Path, *, side: int = 520, quality: int = 70, part_bytes: int = 48_000_000
) -> list[Path]:
    """Squeeze a pack into parts in a folder.

    `side` is the longest side of the images in pixels, `quality` that of the WebP, 1–100; no part
    is larger than `part_bytes`, unless it holds a single image.

    Raises:
        OutputError: A part cannot be written.
    """
    make_folder(folder)
    parts: list[Path] = []
    items: list[_Item] = []
    empty = PART_OVERHEAD + np.asarray(pack.left_out, np.str_).nbytes
    size, longest = empty, 0
    for number in range(len(pack)):
        item = _squeezed(pack.entry(number), pack.image(number), side, quality)
        more = len(item[1]) + item[0].faces.nbytes + OVERHEAD
        # An array of texts takes as much for each as for the longest, four bytes a letter.
        longest = max(longest, len(item[0].name))
        if items and size + more + 4 * longest * (len(items) + 1) > part_bytes:
            parts.append(_write_part(folder / f"part-{len(parts)}.npz", items, pack.left_out))
            items, size, longest = [], empty, len(item[0].name)
        items.append(item)
        size += more
    if items:
        parts.append(_write_part(folder / f"part-{len(parts)}.npz", items, pack.left_out))
    return parts


def has_shards(folder: Path) -> bool:
    """Whether a folder holds parts."""
    return any(folder.glob(PATTERN))


def open_shards(folder: Path, out: Path) -> Pack:
    """Make a pack of the parts in a folder.

    Raises:
        InputError: A part is broken.
        OutputError: The pack cannot be written.
    """
    first, left_out = min(folder.glob(PATTERN)), list[str]()
    # Every part names all that were left out; those of older versions none.
    with suppress(OSError, ValueError, KeyError, BadZipFile), np.load(first) as file:
        left_out = [str(name) for name in file["left_out"]]
    return write_pack(out, _items(folder), left_out=left_out)


def _items(folder: Path) -> Iterator[tuple[Entry, RgbImage]]:
    for part in sorted(folder.glob(PATTERN)):
        try:
            with np.load(part, allow_pickle=False) as file:
                table = {name: file[name] for name in file.files}
            yield from ahead(partial(_unpacked, table), range(len(table["names"])))
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise InputError(f"{part} is broken ({error}); copy it again") from error


def _unpacked(table: dict[str, npt.NDArray[Any]], number: int) -> tuple[Entry, RgbImage]:
    name, starts, cuts = str(table["names"][number]), table["starts"], table["cuts"]
    image = cv2.imdecode(table["data"][cuts[number] : cuts[number + 1]], cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{name} cannot be decoded")
    faces = table["faces"][starts[number] : starts[number + 1]]
    height, width = image.shape[:2]
    entry = Entry(name, width, height, bool(table["labelled"][number]), faces)
    return entry, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _squeezed(entry: Entry, image: RgbImage, side: int, quality: int) -> _Item:
    entry, image = shrunk(entry, image, side)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])
    return entry, data.reshape(-1)


def _write_part(path: Path, items: list[_Item], left_out: Sequence[str]) -> Path:
    faces = [entry.faces for entry, _ in items]
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez(
            file,
            names=np.asarray([entry.name for entry, _ in items]),
            labelled=np.asarray([entry.labelled for entry, _ in items]),
            faces=np.concatenate(faces),
            starts=np.cumsum([0, *(len(rows) for rows in faces)]),
            data=np.concatenate([data for _, data in items]),
            cuts=np.cumsum([0, *(len(data) for _, data in items)]),
            left_out=np.asarray(left_out, np.str_),
        )
    return path
