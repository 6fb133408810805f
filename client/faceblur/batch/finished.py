"""Know which results of a batch are finished, by what they were made of and what they hold.

A tree of results has a folder `.faceblur` with a note of each result: the SHA-256 of its source,
of all settings, of the model and of the result itself. A result is finished when all four are
what they would be now; names, sizes and times prove nothing and are ignored. Removing the
folder loses nothing but that knowledge.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from faceblur.errors import OutputError
from faceblur.files import file_sha256, leftovers, remove_abandoned

logger = logging.getLogger(__name__)

FOLDER: Final = ".faceblur"
NOTES: Final = "finished.jsonl"
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
    """

    name: str
    ingredients: CacheKey
    output_sha256: str
    faces: int
    frames: int


class ResultCache:
    """The notes of one tree of results; safe to call from several threads and processes.

    Args:
        tree: The folder; it is made when the first note is.
    """

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._file = tree / FOLDER / NOTES
        self._append = threading.Lock()
        self._notes = {note.name: note for note in _read(self._file)}

    def find(self, output: Path, ingredients: CacheKey) -> CachedResult | None:
        """The note of a result that is there, unchanged, and made of just this.

        Raises:
            OutputError: It is there, but cannot be read.
        """
        note = self._notes.get(self._name(output))
        if note is None or note.ingredients != ingredients or not ingredients.model_sha256:
            return None
        try:
            intact = output.is_file()
        except OSError as error:
            raise OutputError(f"cannot read {output}: {error.strerror}") from error
        intact = intact and file_sha256(output, refusal=OutputError) == note.output_sha256
        return note if intact else None

    def add(
        self,
        output: Path,
        ingredients: CacheKey,
        *,
        output_sha256: str,
        faces: int,
        frames: int,
    ) -> None:
        """Note a result that has appeared. Without its note it is merely made again."""
        note = CachedResult(
            name=self._name(output),
            ingredients=ingredients,
            output_sha256=output_sha256,
            faces=faces,
            frames=frames,
        )
        line = json.dumps(asdict(note), separators=(",", ":")).encode() + b"\n"
        try:
            with self._append:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("ab") as file:
                    # One call for one line: other processes append whole lines too.
                    file.write(line if _ends_a_line(self._file) else b"\n" + line)
        except OSError as error:
            logger.warning("%s will be masked again: %s", output, error.strerror)

    def _name(self, output: Path) -> str:
        return output.relative_to(self._tree).as_posix()


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
        # A run that was killed leaves half a line.
        with suppress(ValueError, TypeError, KeyError):
            fields = json.loads(line)
            yield CachedResult(**{**fields, "ingredients": CacheKey(**fields["ingredients"])})


def _ends_a_line(file: Path) -> bool:
    with file.open("rb") as content:
        if content.seek(0, os.SEEK_END) == 0:
            return True
        content.seek(-1, os.SEEK_END)
        return content.read(1) == b"\n"


class OutputLock:
    """Held while a batch writes to a tree, to sweep up after one that was killed.

    Several batches may write to one tree at once; the first of them holds the lock.
    """

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._lock = FileLock(tree / FOLDER / _LOCK, timeout=0, thread_local=False)

    def acquire(self, outputs: Iterable[Path]) -> None:
        """Take the lock if nobody has it, and then remove what is left of unfinished results."""
        with suppress(OSError, NotImplementedError, Timeout):
            (self._tree / FOLDER).mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            for leftover in leftovers(outputs):
                removed = remove_abandoned(leftover)
                if removed is None:
                    leftover.unlink(missing_ok=True)
                if removed is not False:
                    logger.info("removed %s, left by a run that was killed", leftover)

    def release(self) -> None:
        """Give it to others."""
        with suppress(OSError):
            self._lock.release()
