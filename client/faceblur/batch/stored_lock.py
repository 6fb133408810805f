"""Who writes to a folder of an object store: a small file there, which its owner keeps fresh."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from faceblur.batch.finished import FOLDER, beside_others, lock_name
from faceblur.errors import FaceblurError, OutputError
from faceblur.stores.address import Address
from faceblur.stores.fsspec_store import store_of
from faceblur.stores.store import Entry

logger = logging.getLogger(__name__)

BEAT_S: Final = 20.0
"""How often the owner says that it is still there."""

SILENT_S: Final = 75.0
"""Whoever says nothing for so long is gone; a beat that fails is tried again for a while."""

LOOK_S: Final = 1.0
_END_S: Final = 5.0


@dataclass(frozen=True)
class _Seen:
    """A lock as it was."""

    entry: Entry
    content: bytes


class StoredLock:
    """Held while a batch writes to a folder of a store, so that no other does the same work.

    It saves work and guards nothing: two that write the same results harm none. So where it cannot
    be told whether another does, as where only workers may write there, the work begins.

    Args:
        tree: The folder; None for a single result, which has a lock of its own.
        output: One of the results.
    """

    def __init__(self, tree: Address | None, output: Address) -> None:
        self._place = output if tree is None else tree
        folder = output.parent if tree is None else tree
        self._address = folder / FOLDER / lock_name(output.name if tree is None else None)
        self._store = store_of(self._address)
        self._mark = secrets.token_hex(16).encode()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> None:
        """Take the lock, from an owner that is gone only once it was silent for long enough.

        Raises:
            OutputError: Another batch has it.
        """
        try:
            is_ours = self._create() or self._outlast()
        except FaceblurError as error:
            logger.warning("maybe another faceblur writes to %s: %s", self._place, error)
            return
        if not is_ours:
            raise OutputError(beside_others(self._place))
        self._thread = threading.Thread(target=self._beat, name="faceblur-lock", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give it to others."""
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join(_END_S)
        with suppress(FaceblurError):
            # What is still being written would come back.
            if not self._thread.is_alive() and self._is_ours(self._store.read(self._address)):
                self._store.remove(self._address)

    def _create(self) -> bool:
        """Put the file there; False if there is one."""
        # The second time is for one that was given back in between.
        for is_last in (False, True):
            try:
                self._store.write(self._address, self._mark, replaces=False)
            except OutputError:
                found = self._store.read(self._address)
                if found is not None:
                    # It is ours where an answer was lost, and the next try found it.
                    return self._is_ours(found)
                if is_last:
                    raise
            else:
                return True
        raise AssertionError("unreachable")

    def _outlast(self) -> bool:
        """Wait until the owner has ended, or was silent for too long; False once it says more."""
        seen = self._look()
        logger.warning(
            "another faceblur was writing to %s: waiting up to %.0f s to see whether it has ended",
            self._place,
            SILENT_S,
        )
        end_s = time.monotonic() + SILENT_S
        while seen is not None and time.monotonic() < end_s:
            time.sleep(LOOK_S)
            found = self._look()
            if found is not None and found.content != seen.content:
                return False
            seen = found
        return self._create() if seen is None else self._take(seen)

    def _take(self, seen: _Seen) -> bool:
        """Take the place of an owner that is gone; False if somebody else has."""
        try:
            self._store.write(self._address, self._mark, replaces=seen.entry)
        except OutputError:
            found = self._store.read(self._address)
            if found == seen.content:
                raise
            return self._create() if found is None else self._is_ours(found)
        return True

    def _look(self) -> _Seen | None:
        # In this order: if it changes in between, what was read is not what will be replaced.
        entry, content = self._store.find(self._address), self._store.read(self._address)
        return None if entry is None or content is None else _Seen(entry, content)

    def _beat(self) -> None:
        count = 0
        while not self._ended.wait(BEAT_S):
            try:
                seen = self._look()
                if seen is not None and not self._is_ours(seen.content):
                    logger.warning(
                        "another faceblur writes to %s, since nothing was heard of this one for "
                        "long: both go on, and do the same work",
                        self._place,
                    )
                    return
                count += 1
                said = b"%s %d" % (self._mark, count)
                self._store.write(
                    self._address, said, replaces=False if seen is None else seen.entry
                )
            except FaceblurError as error:
                logger.debug("the lock of %s: %s", self._place, error)

    def _is_ours(self, found: bytes | None) -> bool:
        return found is not None and found.startswith(self._mark)
