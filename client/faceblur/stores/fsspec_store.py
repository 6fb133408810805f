"""Stores through fsspec, which has a library for nearly every kind."""

from __future__ import annotations

import filecmp
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from faceblur.errors import InputError, OutputError
from faceblur.stores.address import AZURE, WEB, Address
from faceblur.stores.connections import AT_ONCE, GOOGLE, POLL_S, S3, await_from, connect
from faceblur.stores.entries import entries_of, entry_of
from faceblur.stores.faults import ATTEMPTS, ChangedError, Use, behind, persistently
from faceblur.stores.store import Entry, Going, Store, keep_going

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

PART_BYTES: Final = 8 << 20
"""Of what is written in parts; larger where there would be too many of them."""

_PARTS_AT_ONCE: Final = 4
_MOST_PARTS: Final = 9_000
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
            options = {"headers": {"Accept-Encoding": "identity"}} if self.scheme in WEB else {}
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
        self, source: Path, address: Address, *, going: Going = keep_going, replaces: bool = True
    ) -> Entry:
        """Copy a local file to an address, where it appears whole or not at all."""
        if address.is_read_only:
            raise OutputError(f"{address} can only be read: name a folder or a bucket with -o")
        path = self._path(address)
        size = source.stat().st_size

        def work() -> Entry:
            try:
                if self.scheme in AT_ONCE:
                    self._put(source, path, size, going, replaces=replaces)
                else:
                    self._put_aside(source, path, going, replaces=replaces)
            except FileExistsError:
                # An answer may have been lost, and the try after that finds what it has put there.
                if not self._holds(path, source, going):
                    raise
            done = entry_of(address, self._call(going, "info", path))
            if done.size not in (None, size):
                raise ChangedError("came short")
            return done

        return self._persistently(work, address, "write", going)

    def read(self, address: Address) -> bytes | None:
        """What a small file holds; None if there is none."""
        options = {"max_concurrency": 1} if self.scheme in S3 else {}

        def work() -> bytes | None:
            try:
                return bytes(self._call(keep_going, "cat_file", self._path(address), **options))
            except FileNotFoundError:
                return None

        return self._persistently(work, address, "read")

    def write(self, address: Address, content: bytes, *, replaces: bool = True) -> None:
        """Put a small file in place."""
        path = self._path(address)

        def work() -> None:
            if self.scheme not in AT_ONCE:
                self._call(keep_going, "makedirs", path.rpartition("/")[0], exist_ok=True)
                self._check_free(path, keep_going, replaces=replaces)
            options = self._terms(replaces=replaces) if self.scheme in AT_ONCE else {}
            self._call(keep_going, "pipe_file", path, content, **options)

        self._persistently(work, address, "write")

    def remove(self, address: Address) -> None:
        """Delete a file, if it is there."""

        def work() -> None:
            with suppress(FileNotFoundError):
                self._call(keep_going, "rm_file", self._path(address))

        self._persistently(work, address, "write")

    def _terms(self, *, replaces: bool) -> dict[str, Any]:
        """On what terms the store itself takes a file."""
        if replaces:
            return {}
        return {"overwrite": False} if self.scheme in AZURE else {"mode": "create"}

    def _check_free(self, path: str, going: Going, *, replaces: bool) -> None:
        if not replaces and self._call(going, "exists", path):
            raise FileExistsError

    def _put(self, source: Path, path: str, size: int, going: Going, *, replaces: bool) -> None:
        part = max(PART_BYTES, size // _MOST_PARTS)
        options = self._terms(replaces=replaces)
        if self.scheme in S3:
            options |= {"chunksize": part, "max_concurrency": _PARTS_AT_ONCE}
        elif self.scheme in GOOGLE:
            options |= {"chunksize": -(-part // (1 << 18)) * (1 << 18)}
        if self.scheme not in S3 or size < 2 * part:
            self._call(going, "put_file", str(source), path, **options)
            return
        # A run that was killed may have left parts, for which one pays.
        self._forget_parts(path)
        try:
            self._call(going, "put_file", str(source), path, **options)
        except BaseException:
            self._forget_parts(path)
            raise

    def _forget_parts(self, path: str) -> None:
        """Have S3 delete the parts of a file that was never completed."""
        bucket, _, key = path.partition("/")
        with suppress(Exception):  # Whoever may write need not be allowed to list; lifecycles do.
            found = self._fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key)
            for upload in found.get("Uploads", ()):
                if upload["Key"] == key:
                    self._fs.call_s3(
                        *("abort_multipart_upload",),
                        Bucket=bucket,
                        Key=key,
                        UploadId=upload["UploadId"],
                    )

    def _holds(self, path: str, source: Path, going: Going) -> bool:
        """Whether a file of the store is the same as one that is here."""
        if self._call(going, "info", path).get("size") != source.stat().st_size:
            return False
        copy = source.with_name(f".there-{secrets.token_hex(4)}")
        try:
            self._call(going, "get_file", path, str(copy))
            return filecmp.cmp(source, copy, shallow=False)
        finally:
            copy.unlink(missing_ok=True)

    def _put_aside(self, source: Path, path: str, going: Going, *, replaces: bool) -> None:
        """Write under a temporary name, and rename that."""
        folder, _, name = path.rpartition("/")
        temporary = f"{folder}/.{name}.partial-{secrets.token_hex(4)}"
        self._call(going, "makedirs", folder, exist_ok=True)
        try:
            self._call(going, "put_file", str(source), temporary)
            going()
            self._check_free(path, going, replaces=replaces)
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

    def _call(self, going: Going, name: str, *args: Any, **options: Any) -> Any:
        """Call a method of the library; one that is a coroutine ends when `going` says so."""
        fs = self._fs
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
