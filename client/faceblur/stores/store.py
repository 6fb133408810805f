"""What a store can do: list, fetch, commit. Everything that differs between stores is below it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from faceblur.stores.address import Address

Going = Callable[[], None]
"""Called again and again while something is transferred; what it raises ends that, cleanly."""


def keep_going() -> None:
    """Let a transfer go on."""


@dataclass(frozen=True, order=True)
class Entry:
    """A file in a store.

    Attributes:
        size: Bytes; None where the store does not say.
        version: What the store gives this content, and no other under this name: a checksum or
            an entity tag, with the size. Empty where it gives none.
        modified: Where there is no version, when it was written, as the store says it. That proves
            nothing, but shows many a change.
        tag: What the store takes for "as long as it is still this file"; it may change where the
            content does not. Empty where it takes nothing such.
    """

    address: Address
    size: int | None = None
    version: str = ""
    modified: str = ""
    tag: str = field(default="", compare=False)


Replaces = bool | Entry
"""Whether a file that is there may be replaced; or which alone, as it was seen."""


class Store(Protocol):
    """Files under addresses of one kind; safe to use from several threads, and picklable.

    Every method tries again where that may help, a few times, and then raises an `InputError`
    or, where it writes, an `OutputError`: one sentence without secrets. One that may pass by
    itself is a `faceblur.stores.faults.UnreachableError` or `UnwritableError`.
    """

    def find(self, address: Address) -> Entry | None:
        """The file of a name; None if there is none."""

    def is_folder(self, address: Address) -> bool:
        """Whether anything lies below it."""

    def list(self, folder: Address) -> Iterator[Entry]:
        """All files below a folder, in the order of their names."""

    def match(self, pattern: Address) -> Iterator[Entry]:
        """All files whose names match a pattern with *, ? or **, in the order of their names."""

    def head(self, address: Address, size: int) -> bytes:
        """The first bytes of a file, `size` at most."""

    def fetch(self, entry: Entry, target: Path, *, going: Going = keep_going) -> Entry:
        """Copy a file to a new local one, whole and of one version.

        Returns:
            The file as it is: it may have been replaced since it was listed.
        """

    def commit(
        self,
        source: Path,
        address: Address,
        *,
        going: Going = keep_going,
        replaces: Replaces = True,
    ) -> Entry:
        """Copy a local file to an address, where it appears whole or not at all.

        A file that was there is replaced in one step. One that `replaces` excludes is an
        `OutputError`, also if it comes there meanwhile where the store itself sees to that (S3,
        Azure and Google do). What was begun is removed on any error.
        """

    def read(self, address: Address) -> bytes | None:
        """What a small file holds; None if there is none."""

    def write(self, address: Address, content: bytes, *, replaces: Replaces = True) -> None:
        """Put a small file in place; `replaces` is that of `commit`."""

    def remove(self, address: Address) -> None:
        """Delete a file, if it is there."""
