"""Files as one zip file, piece by piece as it is made."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from faceblur.web.jobs.job import WebJob

Named = tuple[str, Path]
"""What a file is called in the archive, and where it lies."""

_CHUNK_BYTES: Final = 1 << 20


def archive(files: Iterable[Named]) -> Iterator[bytes]:
    """The bytes of a zip file that holds some files."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as whole:
        for name, path in files:
            with path.open("rb") as source, whole.open(name, "w", force_zip64=True) as target:
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)
                    yield pipe.take()
    yield pipe.take()


def clean_results(jobs: Iterable[WebJob], *, records: bool) -> list[Named]:
    """The results in which the check found nothing; what two of them are both called gets a number.

    They are those of this moment: while they are sent, others may come to count that are not clean.

    Args:
        jobs: The files.
        records: Whether each comes with its record.
    """
    named: list[Named] = []
    taken: set[str] = set()
    for job in jobs:
        result = job.result
        if result is None or result.verdict.result != "clean":
            continue
        name = _free_name(job.called(result.output.suffix), taken)
        named.append((name, result.output))
        if records:
            named += files_of(result.record, _free_name(record_name(name), taken))
    return named


def record_name(name: str) -> str:
    """What the folder with the record of a result is called, by the name of the result."""
    return f"{PurePosixPath(name).with_suffix('')}_report"


def files_of(folder: Path, name: str) -> Iterator[Named]:
    """All that is in a folder, under another name of it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield f"{name}/{path.relative_to(folder).as_posix()}", path


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
