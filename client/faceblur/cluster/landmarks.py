"""What shows a machine that it sees the same folders as the others."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from faceblur.batch.finished import FOLDER
from faceblur.batch.jobs import AnyJob
from faceblur.errors import OutputError

_MARK: Final = "place-"
"""Begins the name of an empty file in a folder of results; behind it, a number that no other has.

Nobody can see such a file half written, and two that are made at once are both right.
"""


def landmarks(jobs: Iterable[AnyJob]) -> tuple[Path, ...]:
    """Files that every machine must see: a source of each folder, and a mark among the results.

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
    return (*sources.values(), *(_mark(folder) for folder in sorted(results)))


def folder_of(landmark: Path) -> Path:
    """The folder that a landmark stands for, as people name it."""
    is_mark = landmark.parent.name == FOLDER and landmark.name.startswith(_MARK)
    return landmark.parents[1] if is_mark else landmark.parent


def _mark(folder: Path) -> Path:
    hidden = folder / FOLDER
    try:
        hidden.mkdir(parents=True, exist_ok=True)
        mark = min(hidden.glob(f"{_MARK}*"), default=None)
        if mark is None:
            mark = hidden / f"{_MARK}{secrets.token_hex(16)}"
            mark.touch()
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}; choose another with --output"
        ) from error
    return mark
