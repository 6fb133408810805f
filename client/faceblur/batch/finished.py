"""Know which results of a batch are finished, by what they were made of and what they hold.

A tree of results has a folder `.faceblur` with a note of each result: the SHA-256 of its source,
of all settings, of the model and of the result itself. A result is finished when all four are
what they would be now; names, sizes and times prove nothing and are ignored. Removing the
folder loses nothing but that knowledge.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

from filelock import FileLock, Timeout

from faceblur.errors import FaceblurError, OutputError
from faceblur.files import file_sha256, leftovers, remove_abandoned
from faceblur.stores.address import Address
from faceblur.stores.fsspec_store import store_of

logger = logging.getLogger(__name__)

FOLDER: Final = ".faceblur"
NOTES: Final = "finished.jsonl"
_ALL_NOTES: Final = "finished*.jsonl"
_LOCK: Final = "lock"


@dataclass(frozen=True, kw_only=True)
class CacheKey:
    """All that decides what a result holds.

    Attributes:
        version: Of faceblur: what a newer one does better is done again.
    """

    source_sha256: str
    settings_sha256: str
    model_sha256: str
    version: str


@dataclass(frozen=True, kw_only=True)
class CachedResult:
    """A note of one result.

    Attributes:
        name: The result, relative to the tree, with forward slashes.
        faces: Masked regions in all frames.
        frames: Checked frames.
        source_version: Of a source in a store, its `faceblur.stores.store.Entry.version`: while
            that is the same, so is its content.
        output_version: Likewise of a result in a store.
    """

    name: str
    ingredients: CacheKey
    output_sha256: str
    faces: int
    frames: int
    source_version: str = ""
    output_version: str = ""

    def is_of(self, ingredients: CacheKey) -> bool:
        """Whether it was made of just this, as far as one can know."""
        return self.ingredients == ingredients and bool(ingredients.model_sha256)

    def to_line(self) -> bytes:
        """The note in JSON."""
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: str | bytes) -> CachedResult | None:
        """Read a note; None if it is none: a run that was killed leaves half a line."""
        try:
            fields = json.loads(line)
            return cls(**{**fields, "ingredients": CacheKey(**fields["ingredients"])})
        except (ValueError, TypeError, KeyError):
            return None


class Notes(Protocol):
    """The notes of one tree of results; safe to call from several threads and processes."""

    def note_of(self, name: str) -> CachedResult | None:
        """The note of a result of a name, relative to the tree, whatever it was made of.

        Raises:
            InputError: They cannot be read.
        """

    def add(self, note: CachedResult) -> None:
        """Note a result that has appeared. Without its note it is merely made again."""


def is_intact(output: Path, note: CachedResult) -> bool:
    """Whether a result is there and holds what it did when it was noted.

    Raises:
        OutputError: It is there, but cannot be read.
    """
    try:
        there = output.is_file()
    except OSError as error:
        raise OutputError(f"cannot read {output}: {error.strerror}") from error
    return there and file_sha256(output, refusal=OutputError) == note.output_sha256


class ResultCache:
    """The notes of a tree of results in a folder.

    Args:
        tree: The folder; it is made when the first note is.
        writer: Whose notes are added, in a file of their own: machines that share a folder may
            lose what they append to one file at the same time. Empty for the only one.
    """

    def __init__(self, tree: Path, writer: str = "") -> None:
        self._tree = tree
        self._file = tree / FOLDER / (f"finished-{writer}.jsonl" if writer else NOTES)
        self._append = threading.Lock()
        self._notes = {note.name: note for file in _files(tree) for note in _read(file)}

    def note_of(self, name: str) -> CachedResult | None:
        """The note of a result of a name, whatever it was made of."""
        return self._notes.get(name)

    def add(self, note: CachedResult) -> None:
        """Note a result that has appeared. Without its note it is merely made again."""
        line = note.to_line()
        try:
            with self._append:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("ab") as file:
                    # One call for one line: other processes append whole lines too.
                    file.write(line if _ends_a_line(self._file) else b"\n" + line)
        except OSError as error:
            output = self._tree / note.name
            logger.warning("%s will be masked again: %s", output, error.strerror)


def _files(tree: Path) -> list[Path]:
    """The files with notes, whoever wrote them, the newest last."""
    times = {}
    for file in (tree / FOLDER).glob(_ALL_NOTES):
        with suppress(OSError):
            times[file] = file.stat().st_mtime_ns
    return sorted(times, key=times.__getitem__)


def _read(file: Path) -> Iterator[CachedResult]:
    """All notes that can be read, in the order they were made; a later one counts."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("every file will be masked again: cannot read %s: %s", file, error.strerror)
        return
    for line in lines:
        if (note := CachedResult.from_line(line)) is not None:
            yield note


def _ends_a_line(file: Path) -> bool:
    with file.open("rb") as content:
        if content.seek(0, os.SEEK_END) == 0:
            return True
        content.seek(-1, os.SEEK_END)
        return content.read(1) == b"\n"


class StoredNotes:
    """The notes of a tree of results in a store: one small file each, so that none is appended to.

    Args:
        tree: The folder in the store.
    """

    def __init__(self, tree: Address) -> None:
        self._folder = tree / FOLDER
        self._store = store_of(tree)

    def note_of(self, name: str) -> CachedResult | None:
        """The note of a result of a name, whatever it was made of."""
        content = self._store.read(self._file(name))
        note = None if content is None else CachedResult.from_line(content)
        return note if note is not None and note.name == name else None

    def add(self, note: CachedResult) -> None:
        """Note a result that has appeared. Without its note it is merely made again."""
        try:
            self._store.write(self._file(note.name), note.to_line())
        except FaceblurError as error:
            logger.warning("%s will be masked again: %s", note.name, error)

    def _file(self, name: str) -> Address:
        return self._folder / f"{_digest(name)}.json"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def lock_name(single: str | None) -> str:
    """What the lock of a tree is called, or with a name that of a single result."""
    return _LOCK if single is None else f"{_LOCK}-{_digest(single)[:16]}"


def beside_others(place: Path | Address) -> str:
    """Say that somebody else writes to a place."""
    return (
        f"another faceblur writes to {place}: wait until it has ended, or choose another place "
        "with --output"
    )


class OutputLock:
    """Held while a batch writes to a tree, to sweep up after one that was killed.

    Several batches may write to one tree at once; the first of them holds the lock.

    Args:
        tree: The folder; None for a single result, which has a lock of its own.
        outputs: The results whose leftovers are removed, at least one.
    """

    def __init__(self, tree: Path | None, outputs: Sequence[Path]) -> None:
        single = outputs[0]
        self._place = single if tree is None else tree
        folder = single.parent if tree is None else tree
        file = folder / FOLDER / lock_name(single.name if tree is None else None)
        self._outputs = outputs
        self._lock = FileLock(file, timeout=0, thread_local=False)

    def acquire(self, *, alone: bool = False) -> None:
        """Take the lock if nobody has it, and then remove what is left of unfinished results.

        Args:
            alone: Refuse to write there beside another batch.

        Raises:
            OutputError: Another does, and this one is to be alone.
        """
        with suppress(OSError, NotImplementedError):
            Path(self._lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout:
                if alone:
                    raise OutputError(beside_others(self._place)) from None
        self.sweep()

    def sweep(self) -> None:
        """Remove what is left of unfinished results by now, if the lock was to be had."""
        if not self._lock.is_locked:
            return
        with suppress(OSError):
            for leftover in leftovers(self._outputs):
                removed = remove_abandoned(leftover)
                if removed is None:
                    leftover.unlink(missing_ok=True)
                if removed is not False:
                    logger.info("removed %s, left by a run that was killed", leftover)

    def release(self) -> None:
        """Give it to others."""
        with suppress(OSError):
            self._lock.release()
