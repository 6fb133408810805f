"""The images and videos in a folder, and what is there beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from faceblur.video.kinds import Kind, found_kind


@dataclass(frozen=True)
class Search:
    """What was found.

    Attributes:
        media: Images and videos, and which of the two each is.
        unchecked: Images and videos that nothing here reads, and folders that were not
            entered.
        others: How many other files there are.
    """

    media: dict[Path, Kind] = field(default_factory=dict)
    unchecked: list[Path] = field(default_factory=list)
    others: int = 0


def search(root: Path) -> Search:
    """Go through a folder and all in it, linked folders too, each once."""
    found: list[Path] = []
    unread: list[Path] = []
    for path, readable in walk(root):
        (found if readable else unread).append(path)
    result = classify(sorted(found))
    return Search(result.media, sorted([*result.unchecked, *unread]), result.others)


def classify(paths: list[Path]) -> Search:
    """Tell files apart. Hidden ones are not media: systems and programs keep notes in them."""
    media: dict[Path, Kind] = {}
    unchecked, others = [], 0
    for path in paths:
        kind = None if path.name.startswith(".") else found_kind(path)
        if kind == "unreadable":
            unchecked.append(path)
        elif kind is not None:
            media[path] = kind
        else:
            others += 1
    return Search(media, unchecked, others)


def walk(root: Path) -> Iterator[tuple[Path, bool]]:
    """Everything below a folder that is none, and True; folders that are left out, and False."""
    return _walk(root, root.resolve(), set())


def _walk(folder: Path, root: Path, seen: set[Path]) -> Iterator[tuple[Path, bool]]:
    """Everything that is not a folder, and True; folders that cannot be listed, and False."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        yield folder, False
        return
    for path in entries:
        if not path.is_dir():
            yield path, True
        elif not path.is_symlink():
            yield from _walk(path, root, seen)
        else:
            target = path.resolve()
            if target in root.parents:
                yield path, False  # It leads back to this folder, and to much else.
            elif target != root and root not in target.parents and target not in seen:
                seen.add(target)
                yield from _walk(path, root, seen)
