"""What somebody has named, on this machine: files, folders and patterns, expanded to files."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from faceblur.batch.search import Search, classify, search
from faceblur.errors import InputError
from faceblur.redaction import names, redact_address
from faceblur.stores.address import Address
from faceblur.stores.store import Entry
from faceblur.video.kinds import Kind, kind_of, result_name

Place = Path | Address
"""Where a file or folder is: on this machine, or in a store."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class Found:
    """A file that is meant.

    Attributes:
        named: What its result is called in a folder.
        root: The folder that was searched for it; None where it was named itself.
        searched: Whether it was not named itself.
        entry: What its store says of it.
    """

    path: Place
    kind: Kind
    named: str
    root: Place | None = None
    searched: bool = False
    entry: Entry | None = None


@dataclass(frozen=True)
class FoundPart:
    """What one argument of a command line means; see `faceblur.batch.search.Search`."""

    found: list[Found]
    unchecked: list[Place] = field(default_factory=list)
    others: int = 0


def expand(text: str) -> FoundPart:
    """Find what a text names on this machine.

    Raises:
        InputError: Nothing is there.
    """
    path = Path(text)
    if path.is_dir():
        return _part(search(path), path, f"{text} holds no images or videos", "give a folder")
    if path.exists():
        kind = kind_of(path)
        return FoundPart([Found(path, kind, result_name(path, kind))])
    check_name(text, "a file")
    if glob.has_magic(text):
        # pathlib's glob refuses absolute patterns.
        matches = sorted(Path(p) for p in glob.glob(text, recursive=True))  # noqa: PTH207
        files = [match for match in matches if not match.is_dir()]
        folders = [] if "**" in text else [match for match in matches if match.is_dir()]
        result = classify(files)
        result.unchecked.extend(folders)
        return _part(result, None, f"{text} matches no images or videos", "check the pattern")
    raise InputError(f"{text} does not exist; check the name")


def _part(found: Search, root: Path | None, nothing: str, hint: str) -> FoundPart:
    if not found.media:
        raise nothing_in(nothing, list(found.unchecked), hint, is_folder=root is not None)
    items = [
        Found(path, kind, result_name(path, kind), root, True) for path, kind in found.media.items()
    ]
    return FoundPart(items, list(found.unchecked), found.others)


def nothing_in(nothing: str, unchecked: list[Place], hint: str, *, is_folder: bool) -> InputError:
    """Say that there is nothing to mask, and what could not be read."""
    left = f"; not checked: {names(list(map(str, unchecked)))}" if unchecked else ""
    return InputError(f"{nothing} that can be read{left}; {hint}{' that does' * is_folder}")


def check_name(text: str, what: str) -> None:
    """Refuse what looks like the name of a file and is none.

    Raises:
        InputError: It is no name of a file.
    """
    if text == "-":
        raise InputError(
            f"- does not stand for {what}: standard input and output cannot be used, for a file "
            "is gone through more than once; name files"
        )
    # A path that was taken apart has one slash where an address has two.
    if _ADDRESS.match(text) or (what == "the result" and re.match(r"[a-z0-9+.-]{2,}:/", text)):
        if text.startswith("file:"):
            path = unquote(urlsplit(text).path)
            raise InputError(f"{text} is an address: give the path itself, {path}")
        hint = (
            "write to a file, and send that"
            if what == "the result"
            else ("download it and give the file; for live sources there is: faceblur camera")
        )
        raise InputError(f"{redact_address(text)} is an address, not a file: {hint}")
