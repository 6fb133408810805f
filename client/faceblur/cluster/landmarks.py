"""What shows a machine that it sees the same folders as the others."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from faceblur.batch.finished import FOLDER
from faceblur.batch.jobs import AnyJob
from faceblur.errors import OutputError

_MARK: Final = "place"
"""In a folder of results: a number that no other has."""


def landmarks(jobs: Iterable[AnyJob]) -> tuple[tuple[Path, str | None], ...]:
    """Files that every machine must see: a source of each folder, and a mark among the results.

    Returns:
        Each with what it must hold; None where it is enough that it is there.

    Raises:
        OutputError: A folder for results cannot be made.
    """
    sources: dict[Path, Path] = {}
    results: set[Path] = set()
    for job in jobs:
        if isinstance(job.source, Path):
            root = job.root if isinstance(job.root, Path) else job.source.parent
            sources.setdefault(root, job.source)
        if isinstance(job.output, Path):
            results.add(job.tree if isinstance(job.tree, Path) else job.output.parent)
    marks = [_mark(folder) for folder in sorted(results)]
    return (*((path, None) for path in sources.values()), *marks)


def _mark(folder: Path) -> tuple[Path, str]:
    path = folder / FOLDER / _MARK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(secrets.token_hex(16))
        return path, path.read_text()
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}; choose another with --output"
        ) from error
