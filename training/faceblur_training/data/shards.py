"""A pack squeezed into a few small files, to carry it to a machine with a GPU.

Each part holds some of the images as JPEG with all that is known about their faces, so that a
part alone is a smaller data set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.errors import InputError
from faceblur.files import atomic_path
from faceblur_export.data.image_files import RgbImage
from faceblur_training.data.pack import Entry, FloatArray, Pack, write_pack

PATTERN = "part-*.npz"


@dataclass(frozen=True, eq=False)
class _Item:
    entry: Entry
    data: npt.NDArray[np.uint8]


def write_shards(
    pack: Pack, folder: Path, *, side: int = 416, quality: int = 82, part_bytes: int = 48_000_000
) -> list[Path]:
    """Squeeze a pack.

    Args:
        pack: What to carry.
        folder: Where the parts go; it is made when missing.
        side: Longest side of the images, pixels.
        quality: Of the JPEG, 1–100.
        part_bytes: A part is closed when it has reached this.

    Returns:
        The parts.

    Raises:
        OutputError: A part cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[Path] = []
    items: list[_Item] = []
    size = 0
    for number in range(len(pack)):
        item = _squeezed(pack.entry(number), pack.image(number), side, quality)
        items.append(item)
        size += len(item.data)
        if size >= part_bytes or number == len(pack) - 1:
            parts.append(folder / f"part-{len(parts)}.npz")
            _write_part(parts[-1], items)
            items, size = [], 0
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
    return write_pack(out, _items(folder))


def _items(folder: Path) -> Iterator[tuple[Entry, RgbImage]]:
    for part in sorted(folder.glob(PATTERN)):
        try:
            with np.load(part, allow_pickle=False) as file:
                table = {name: file[name] for name in file.files}
            starts, cuts = table["starts"], table["cuts"]
            for number, name in enumerate(table["names"]):
                data = table["data"][cuts[number] : cuts[number + 1]]
                image = cv2.imdecode(data, cv2.IMREAD_COLOR)
                if image is None:
                    raise ValueError(f"{name} cannot be decoded")
                faces = table["faces"][starts[number] : starts[number + 1]]
                height, width = image.shape[:2]
                entry = Entry(str(name), width, height, bool(table["labelled"][number]), faces)
                yield entry, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise InputError(f"{part} is broken ({error}); copy it again") from error


def _squeezed(entry: Entry, image: RgbImage, side: int, quality: int) -> _Item:
    scale = min(1.0, side / max(entry.width, entry.height))
    faces = entry.faces.copy()
    if scale < 1:
        size = (max(1, round(entry.width * scale)), max(1, round(entry.height * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        faces[:, :4] *= scale
        faces[:, 5:] *= scale
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    height, width = image.shape[:2]
    return _Item(Entry(entry.name, width, height, entry.labelled, faces), data.reshape(-1))


def _write_part(path: Path, items: list[_Item]) -> None:
    faces: list[FloatArray] = [item.entry.faces for item in items]
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez(
            file,
            names=np.asarray([item.entry.name for item in items]),
            labelled=np.asarray([item.entry.labelled for item in items]),
            faces=np.concatenate(faces),
            starts=np.cumsum([0, *(len(rows) for rows in faces)]),
            data=np.concatenate([item.data for item in items]),
            cuts=np.cumsum([0, *(len(item.data) for item in items)]),
        )
