"""What has arrived in a watched place, once it is finished being written."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from faceblur.batch.found import Found, Place
from faceblur.batch.result_names import Target
from faceblur.batch.search import classify, walk
from faceblur.batch.stored_search import found_in
from faceblur.errors import FaceblurError, InputError
from faceblur.stores.address import Address
from faceblur.stores.connections import appears_whole
from faceblur.stores.faults import is_lasting
from faceblur.stores.fsspec_store import store_of
from faceblur.stores.store import Entry
from faceblur.video.kinds import result_name

if sys.platform == "linux":
    import fcntl

logger = logging.getLogger(__name__)


class Source(Protocol):
    """A place that is watched."""

    def look(self) -> Iterator[tuple[Place, Hashable]]:
        """Every file there, and what changes when it is written to.

        Raises:
            FaceblurError: It cannot be listed now.
        """

    def is_written(self, place: Place) -> bool:
        """Whether somebody is known to be writing a file at this moment."""

    def appears_whole(self) -> bool:
        """Whether a file cannot be seen there before all of it is."""

    def classify(self, place: Place, stamp: Hashable) -> Found | None:
        """An image or video; None for all else. What nothing here reads is named in the log."""


@dataclass(frozen=True)
class FolderSource:
    """A folder of this machine, with all in it."""

    place: Path

    def look(self) -> Iterator[tuple[Place, Hashable]]:
        """Every file, with its size, its time and its place on the disk."""
        if not self.place.is_dir():
            raise InputError(f"{self.place} is no folder any more: make it again")
        for path, readable in walk(self.place):
            if not readable or path.name.startswith("."):
                continue
            try:
                facts = path.stat()
            except OSError:
                continue  # It went while we looked.
            yield path, (facts.st_size, facts.st_mtime_ns, facts.st_ino)

    def is_written(self, place: Place) -> bool:
        """Whether anybody has a file open to write to it; False where the system does not tell."""
        return isinstance(place, Path) and _has_writer(place)

    def appears_whole(self) -> bool:
        """Files grow."""
        return False

    def classify(self, place: Place, stamp: Hashable) -> Found | None:  # noqa: ARG002
        """Tell by the content."""
        assert isinstance(place, Path)
        found = classify([place])
        _say_unread(place, bool(found.unchecked))
        kind = found.media.get(place)
        return kind and Found(place, kind, result_name(place, kind), self.place, True)


@dataclass(frozen=True)
class StoreSource:
    """A folder of a store."""

    place: Address

    def look(self) -> Iterator[tuple[Place, Hashable]]:
        """Every file, with what its store says of it."""
        for entry in store_of(self.place).list(self.place):
            if not entry.address.name.startswith("."):
                yield entry.address, entry

    def is_written(self, place: Place) -> bool:  # noqa: ARG002
        """Nobody can tell."""
        return False

    def appears_whole(self) -> bool:
        """Object stores show what is complete."""
        return appears_whole(self.place.scheme)

    def classify(self, place: Place, stamp: Hashable) -> Found | None:
        """Tell by the name, or the beginning."""
        assert isinstance(stamp, Entry)
        part = found_in(self.place, [stamp])
        _say_unread(place, bool(part.unchecked))
        return part.found[0] if part.found else None


def source_of(place: Place) -> FolderSource | StoreSource:
    """How a place is watched."""
    return StoreSource(place) if isinstance(place, Address) else FolderSource(place)


@dataclass
class _Seen:
    """A file as it was last seen, and since when, on the clock `time.monotonic`."""

    stamp: Hashable
    since_s: float
    taken: bool = False


class Arrivals:
    """Gives each file once when it is whole, and again when it has changed since.

    Args:
        source: Where they arrive.
        target: Where their results go, among which nothing is taken for new.
        settle_s: How long a file must stay as it is before it counts as whole.
    """

    def __init__(self, source: Source, target: Target, *, settle_s: float) -> None:
        self._source = source
        self._target = target
        self._settle_s = 0.0 if source.appears_whole() else settle_s
        self._seen: dict[Place, _Seen] = {}

    def look(self) -> list[Found]:
        """Files that are whole and were not given before, the oldest first.

        Raises:
            FaceblurError: The place cannot be listed now.
        """
        now_s = time.monotonic()
        current: dict[Place, _Seen] = {}
        for place, stamp in self._source.look():
            seen = self._seen.get(place)
            if seen is None or seen.stamp != stamp:
                seen = _Seen(stamp, now_s)
            current[place] = seen
        self._seen = current
        whole = [place for place, seen in current.items() if self._is_whole(place, seen, now_s)]
        places = set(current)
        found: list[Found] = []
        for place in sorted(whole, key=lambda each: current[each].since_s):
            try:
                item = self._source.classify(place, current[place].stamp)
            except FaceblurError as error:
                if is_lasting(error):
                    logger.warning("not checked, and not masked: %s", error)
                    item = None
                elif found:
                    break  # It and the rest are not taken, and come up again.
                else:
                    raise
            current[place].taken = True
            if item is None or self._target.encloses(item):
                continue
            if self._target.holds(item, places):
                logger.warning("not masked, called like the result of a file beside it: %s", place)
            else:
                found.append(item)
        return found

    @property
    def settling(self) -> int:
        """How many files are there that do not count as whole yet."""
        return sum(not seen.taken for seen in self._seen.values())

    def due_s(self) -> float | None:
        """In how many seconds the next file may count as whole; None if none is waited for."""
        waiting = [seen.since_s for seen in self._seen.values() if not seen.taken]
        return max(0.0, min(waiting) + self._settle_s - time.monotonic()) if waiting else None

    def has(self, place: Place) -> bool:
        """Whether a file was there at the last look."""
        return place in self._seen

    def is_current(self, place: Place) -> bool:
        """Whether a file that was given is still there, and as it was."""
        seen = self._seen.get(place)
        return seen is not None and seen.taken

    def _is_whole(self, place: Place, seen: _Seen, now_s: float) -> bool:
        if seen.taken or now_s - seen.since_s < self._settle_s:
            return False
        if self._source.is_written(place):
            seen.since_s = now_s
            return False
        return True


def _has_writer(path: Path) -> bool:
    """Whether a file is open for writing, by anybody of this machine.

    Linux gives a lease of reading on a file only while nobody writes it. Whoever opens the file in
    that moment waits for us, and we get SIGIO, which `faceblur.watching.watch` has ignored.
    """
    if sys.platform != "linux":
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        # Other errors: the file is somebody else's, or its file system knows no leases.
        return error.errno == errno.EAGAIN
    finally:
        os.close(fd)
    return False


def _say_unread(place: Place, unread: bool) -> None:
    if unread:
        logger.warning("not checked, and not masked: %s", place)
