"""Stores through fsspec, which has a library for nearly every kind."""

from __future__ import annotations

import filecmp
import functools
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from faceblur.errors import InputError, OutputError
from faceblur.stores import conditions
from faceblur.stores.address import AZURE, WEB, Address
from faceblur.stores.connections import AT_ONCE, GOOGLE, POLL_S, S3, await_from, connect
from faceblur.stores.entries import entries_of, entry_of
from faceblur.stores.faults import ATTEMPTS, ChangedError, Use, behind, persistently
from faceblur.stores.parts import forget_parts, is_in_parts, part_options
from faceblur.stores.store import Entry, Going, Replaces, Store, keep_going

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_FEW_ATTEMPTS: Final = 2
"""Where the library tries again by itself, for a minute."""


@dataclass(frozen=True)
class FsspecStore:
    """A store of one kind, at one host or of one login; see `faceblur.stores.store.Store`.

    Its connections are made when they are first needed, in each process anew.

    Attributes:
        scheme: Of its addresses.
        root: Their bucket, container or host.
    """

    scheme: str
    root: str = field(repr=False)

    def find(self, address: Address) -> Entry | None:
        """The file of a name; None if there is none."""
        info = self._info(address)
        return entry_of(address, info) if info and info.get("type") == "file" else None

    def is_folder(self, address: Address) -> bool:
        """Whether anything lies below it."""
        info = self._info(address)
        return info is not None and info.get("type") == "directory"

    def list(self, folder: Address) -> Iterator[Entry]:
        """All files below a folder, in the order of their names."""
        if folder.scheme in WEB:
            raise InputError(f"{folder} gives single files and no list of them: name the files")
        found = self._do("read", folder, "find", self._path(folder), detail=True)
        yield from entries_of(folder, self._path(folder), found)

    def match(self, pattern: Address) -> Iterator[Entry]:
        """All files whose names match a pattern with *, ? or **, in the order of their names."""
        found = self._do("read", pattern, "glob", self._path(pattern), detail=True)
        files = {path: info for path, info in found.items() if info.get("type") == "file"}
        folder = Address(pattern.scheme, pattern.root, "")
        yield from entries_of(folder, self._path(folder), files)

    def head(self, address: Address, size: int) -> bytes:
        """The first bytes of a file, `size` at most."""
        path = self._path(address)

        def work() -> bytes:
            if self.scheme not in WEB:
                return bytes(self._call(keep_going, "cat_file", path, start=0, end=size))
            # A server need not know of ranges, and then sends the whole.
            with self._fs.open(path, "rb", block_size=0) as file:
                return bytes(file.read(size))

        return self._persistently(work, address, "read")[:size]

    def fetch(self, entry: Entry, target: Path, *, going: Going = keep_going) -> Entry:
        """Copy a file to a new local one, whole and of one version."""
        address, path = entry.address, self._path(entry.address)
        current = entry

        def work() -> Entry:
            nonlocal current
            headers = {"Accept-Encoding": "identity"}
            options: dict[str, Any] = {"headers": headers} if self.scheme in WEB else {}
            self._call(going, "get_file", path, str(target), **options)
            before, current = current, entry_of(address, self._call(going, "info", path))
            size = target.stat().st_size
            if current.size not in (None, size):
                raise ChangedError("came short, or is being written")
            if (before.version, before.modified) != (current.version, current.modified):
                raise ChangedError("was replaced while it was read")
            return current

        return self._persistently(work, address, "read", going)

    def commit(
        self,
        source: Path,
        address: Address,
        *,
        going: Going = keep_going,
        replaces: Replaces = True,
    ) -> Entry:
        """Copy a local file to an address, where it appears whole or not at all."""
        if address.is_read_only:
            raise OutputError(f"{address} can only be read: name a folder or a bucket with -o")
        path = self._path(address)

        def work() -> Entry:
            put = self._put if self.scheme in AT_ONCE else self._put_aside
            with conditions.refusals_told(address, replaces):
                try:
                    put(source, address, going, replaces)
                except Exception as error:
                    # An answer may have been lost, and the next try finds what it has put there.
                    if not conditions.is_refused(error, replaces) or not self._holds(
                        path, source, going
                    ):
                        raise
            done = entry_of(address, self._call(going, "info", path))
            if done.size not in (None, source.stat().st_size):
                raise ChangedError("came short")
            return done

        return self._persistently(work, address, "write", going)

    def read(self, address: Address) -> bytes | None:
        """What a small file holds; None if there is none."""
        options: dict[str, Any] = {"max_concurrency": 1} if self.scheme in S3 else {}

        def work() -> bytes | None:
            try:
                return bytes(self._call(keep_going, "cat_file", self._path(address), **options))
            except FileNotFoundError:
                return None

        return self._persistently(work, address, "read")

    def write(self, address: Address, content: bytes, *, replaces: Replaces = True) -> None:
        """Put a small file in place."""
        path = self._path(address)

        def work() -> None:
            if self.scheme not in AT_ONCE:
                self._call(keep_going, "makedirs", path.rpartition("/")[0], exist_ok=True)
            with conditions.refusals_told(address, replaces):
                options = self._prepared(address, keep_going, replaces)
                self._call(keep_going, "pipe_file", path, content, on=replaces, **options)

        self._persistently(work, address, "write")

    def remove(self, address: Address) -> None:
        """Delete a file, if it is there."""

        def work() -> None:
            with suppress(FileNotFoundError):
                self._call(keep_going, "rm_file", self._path(address))

        self._persistently(work, address, "write")

    def _prepared(self, address: Address, going: Going, replaces: Replaces) -> dict[str, Any]:
        """The options of the library for what may be replaced; one look, where it has none."""
        if conditions.is_kept_by_store(self.scheme, replaces):
            return conditions.options_of(self.scheme, replaces)
        if replaces is not True:
            found = None
            with suppress(FileNotFoundError):
                found = entry_of(address, self._call(going, "info", self._path(address)))
            if found != (replaces or None):
                raise FileExistsError
        return {}

    def _put(self, source: Path, address: Address, going: Going, replaces: Replaces) -> None:
        path, size = self._path(address), source.stat().st_size
        options = self._prepared(address, going, replaces) | part_options(self.scheme, size)
        put = functools.partial(
            self._call, going, "put_file", str(source), path, on=replaces, **options
        )
        if not is_in_parts(self.scheme, size):
            put()
            return
        # A run that was killed may have left parts, for which one pays.
        forget_parts(self._fs, path)
        try:
            put()
        except BaseException:
            forget_parts(self._fs, path)
            raise

    def _holds(self, path: str, source: Path, going: Going) -> bool:
        """Whether a file of the store is the same as one that is here."""
        try:
            if self._call(going, "info", path).get("size") != source.stat().st_size:
                return False
        except FileNotFoundError:
            return False
        copy = source.with_name(f".there-{secrets.token_hex(4)}")
        try:
            self._call(going, "get_file", path, str(copy))
            return filecmp.cmp(source, copy, shallow=False)
        finally:
            copy.unlink(missing_ok=True)

    def _put_aside(self, source: Path, address: Address, going: Going, replaces: Replaces) -> None:
        """Write under a temporary name, and rename that."""
        path = self._path(address)
        folder, _, name = path.rpartition("/")
        temporary = f"{folder}/.{name}.partial-{secrets.token_hex(4)}"
        self._call(going, "makedirs", folder, exist_ok=True)
        try:
            self._call(going, "put_file", str(source), temporary)
            going()
            self._prepared(address, going, replaces)
            self._rename(temporary, path)
        finally:
            with suppress(Exception):
                if self._fs.exists(temporary):
                    self._fs.rm_file(temporary)

    def _rename(self, old: str, new: str) -> None:
        from fsspec import AbstractFileSystem

        if type(self._fs).mv is not AbstractFileSystem.mv:
            self._call(keep_going, "mv", old, new)
            return
        # That of fsspec itself takes a name with brackets for a pattern.
        self._call(keep_going, "cp_file", old, new)
        self._call(keep_going, "rm_file", old)

    def _info(self, address: Address) -> Mapping[str, Any] | None:
        def work() -> Mapping[str, Any] | None:
            try:
                info: Mapping[str, Any] = self._call(keep_going, "info", self._path(address))
            except FileNotFoundError as error:
                true = behind(error, address)
                if true is error:
                    return None
                raise true from None
            return info

        return self._persistently(work, address, "read")

    def _do(self, use: Use, address: Address, name: str, *args: Any, **options: Any) -> Any:
        return self._persistently(
            lambda: self._call(keep_going, name, *args, **options), address, use
        )

    def _persistently(
        self, work: Callable[[], Result], address: Address, use: Use, going: Going = keep_going
    ) -> Result:
        def pause(seconds: float) -> None:
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                going()
                time.sleep(min(left, POLL_S))

        attempts = _FEW_ATTEMPTS if self.scheme in (*AZURE, *GOOGLE) else ATTEMPTS
        return persistently(work, address, use, attempts=attempts, pause=pause)

    def _call(
        self, going: Going, name: str, *args: Any, on: Replaces = True, **options: Any
    ) -> Any:
        """Call a method of the library; one that is a coroutine ends when `going` says so.

        `on` says what may be replaced, where it writes.
        """
        fs = conditions.connected_on(self._fs, self.scheme, on)
        going()
        work = getattr(fs, f"_{name}", None) if fs.async_impl else None
        if work is None:
            return getattr(fs, name)(*args, **options)
        return await_from(work(*args, **options), fs.loop, going)

    def _path(self, address: Address) -> str:
        """What the library calls it."""
        if address.scheme in WEB:
            return address.url
        if "@" in address.root and address.scheme in AZURE:
            return f"{address.root.partition('@')[0]}/{address.path}"
        import fsspec

        return str(fsspec.get_filesystem_class(self.scheme)._strip_protocol(address.url))

    @property
    def _fs(self) -> Any:
        return connect(self.scheme, self.root)


def store_of(address: Address) -> Store:
    """The store that an address is of; nothing is connected yet."""
    return FsspecStore(address.scheme, address.root)
