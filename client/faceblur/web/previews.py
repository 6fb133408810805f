"""What the page shows of a result, and all results as one archive: masked pixels, nothing else."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from PIL import Image

from faceblur.web.jobs import WebJob

TYPES: Final = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpe": "image/jpeg",
    ".jfif": "image/jpeg",
    ".png": "image/png",
    ".apng": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",
    ".webm": "video/webm",
    ".ogv": "video/ogg",
    ".mkv": "video/x-matroska",
}
"""Results that browsers show as they are, by suffix."""

_SIDE: Final = 1600
_CHUNK_BYTES: Final = 1 << 20


def image_of(result: Path) -> bytes | None:
    """A masked image as JPEG, reduced, for browsers that cannot show it; None if that fails."""
    try:
        with Image.open(result) as image:
            image.thumbnail((_SIDE, _SIDE))
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "JPEG", quality=85)
            return buffer.getvalue()
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def archive(jobs: Sequence[WebJob]) -> Iterator[bytes]:
    """Results as a zip file, piece by piece; what two files are both called gets a number."""
    pipe = _Pipe()
    taken: set[str] = set()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as whole:
        for job in jobs:
            result = job.result
            if result is None:
                continue
            name = _free_name(job.archived_name, taken)
            with (
                result.output.open("rb") as source,
                whole.open(name, "w", force_zip64=True) as target,
            ):
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)
                    yield pipe.take()
    yield pipe.take()


def _free_name(name: str, taken: set[str]) -> str:
    path, number, free = PurePosixPath(name), 1, name
    while free.casefold() in taken:
        number += 1
        free = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
    taken.add(free.casefold())
    return free


class _Pipe(io.RawIOBase):
    """Takes what a writer that cannot go back writes, until somebody fetches it."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts.clear()
        return whole
