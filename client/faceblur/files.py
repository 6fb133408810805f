"""Files that appear under their name only when they are complete, claims on them, and hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import secrets
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import platformdirs

from faceblur.errors import FaceblurError, InputError, OutputError

if sys.platform == "linux":
    import fcntl

logger = logging.getLogger(__name__)

MAX_NAME_BYTES: Final = 255
"""What common file systems allow in one name."""

_TEMPORARY: Final = re.compile(r"\.(?P<stem>.+)\.partial-[0-9a-f]{8}(?P<suffix>\.[^.]*)?")

_REASONS: Final = {
    errno.ENOSPC: "the disk is full: free some space or write elsewhere",
    getattr(errno, "EDQUOT", -1): "the disk quota is used up: free some space or write elsewhere",
    errno.EFBIG: "the file would grow beyond what is allowed here",
    errno.EACCES: "permission denied: choose a folder you may write to",
    errno.EPERM: "permission denied: choose a folder you may write to",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.ENAMETOOLONG: "the name is too long",
}

_CLAIMED_BYTE: Final = 1 << 62
"""Where a claim locks a file: behind all that it will ever hold."""

_CHUNK_BYTES: Final = 1 << 20

_swept: set[Path] = set()
"""Folders in which this process has removed leftovers; a batch writes many files to one."""


def cache_folder() -> Path:
    """Where what was fetched or measured is kept; FACEBLUR_CACHE overrides the system's place."""
    if folder := os.environ.get("FACEBLUR_CACHE"):
        return Path(folder)
    return Path(platformdirs.user_cache_dir("faceblur"))


@contextmanager
def atomic_path(
    final: Path, *, before_commit: Callable[[Path], None] | None = None, mode: int = 0o666
) -> Iterator[Path]:
    """Give a temporary path to write to, and move the file into place when the block is done.

    The temporary file is hidden, lies in the same folder and has the same suffix. It exists
    (empty) from the start, so a place that cannot be written to is known before any work is
    done. An existing file of the final name is replaced in one step, at the end. On any
    exception, KeyboardInterrupt and other signals turned into exceptions included, the
    temporary file is removed and nothing else has changed.

    Args:
        final: The name the file gets when it is complete.
        before_commit: Called with the temporary path when the file is complete and on the disk.
            What it raises is passed on, and the file does not get its name.
        mode: Who may read and write it, from the beginning; less what the umask takes away.

    Yields:
        The path to write to.

    Raises:
        OutputError: The file cannot be written (folder missing or read-only, disk full, …), or
            the block left it empty. Every OSError that leaves the block counts as a failure to
            write: what reads inside the block turns its own errors into InputError.
    """
    final = Path(final)
    try:
        temporary, claimed = _reserve(final, mode)
    except OSError as error:
        raise OutputError(_sentence(final, error)) from error
    try:
        _sweep(final.parent)
        yield temporary
        _commit(temporary, final, before_commit)
    except OSError as error:
        raise OutputError(_sentence(final, error)) from error
    finally:
        # After a commit there is nothing left under this name.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if claimed is not None:
            os.close(claimed)


def check_ordinary(path: Path) -> None:
    """Refuse what would be read without end, or waited for: pipes, devices and sockets.

    Raises:
        InputError: It is one of these. What is not there, or is a folder, passes.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(
            f"{path} is a pipe or a device, not a file: save what comes out of it, and give that"
        )


def leftovers(finals: Iterable[Path]) -> Iterator[Path]:
    """The temporary files of results that were being written when their process was killed.

    Those of a process that lives are among them; see `faceblur.files.remove_abandoned`.
    """
    finals = set(finals)
    for folder in {final.parent for final in finals}:
        for path in folder.glob(".*.partial-*"):
            match = _TEMPORARY.fullmatch(path.name)
            if match and folder / (match["stem"] + (match["suffix"] or "")) in finals:
                yield path


def _sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder, when this one first writes there."""
    if folder in _swept:
        return
    _swept.add(folder)
    with suppress(OSError):
        for path in folder.glob(".*.partial-*"):
            if _TEMPORARY.fullmatch(path.name) and remove_abandoned(path):
                logger.info("removed %s, left by a run that was killed", path)


def check_place(final: Path) -> None:
    """Refuse a name that no file can have, before there is anything to write.

    Raises:
        OutputError: It is that of a folder or a device, or its folder does not exist.
    """
    if final.is_dir():
        raise OutputError(f"cannot write {final}: it is a folder, give the name of a file")
    if final.exists() and not final.is_file():
        raise OutputError(f"cannot write {final}: it is not an ordinary file")
    if not final.parent.exists():
        raise OutputError(f"cannot write {final}: the folder {final.parent} does not exist")
    if not final.parent.is_dir():
        raise OutputError(f"cannot write {final}: {final.parent} is not a folder")


def _reserve(final: Path, mode: int) -> tuple[Path, int | None]:
    """Make a temporary file, and claim it as long as the descriptor is open."""
    check_place(final)
    while True:
        mark = f".partial-{secrets.token_hex(4)}{final.suffix}"
        # A long name that is allowed by itself must not fail for the sake of the mark.
        room = MAX_NAME_BYTES - len(os.fsencode(mark)) - 1
        stem = final.stem
        while len(os.fsencode(stem)) > room:
            stem = stem[:-1]
        temporary = final.with_name(f".{stem}{mark}")
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            continue
        is_ours = claim(fd)
        if is_ours and os.fstat(fd).st_nlink:
            return temporary, fd
        os.close(fd)
        if is_ours is None:
            return temporary, None
        # Somebody sweeps the folder at this moment.
        temporary.unlink(missing_ok=True)


def _commit(temporary: Path, final: Path, before_commit: Callable[[Path], None] | None) -> None:
    with temporary.open("rb+") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise OutputError(f"cannot write {final}: nothing was written to it")
        os.fsync(file.fileno())
    if before_commit is not None:
        before_commit(temporary)
    temporary.replace(final)
    # The file is in place; where a folder can be synchronised, the new name survives a power
    # cut too. Windows and some network file systems cannot, which is no failure to write.
    with suppress(OSError):
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _sentence(final: Path, error: OSError) -> str:
    fallback = error.strerror or str(error) or type(error).__name__
    return f"cannot write {final}: {_REASONS.get(error.errno or 0, fallback)}"


def claim(fd: int) -> bool | None:
    """Claim a file that is open for writing until its descriptor is closed.

    Returns:
        Whether it is ours and nobody else's; None where the system knows no claims.
    """
    if sys.platform != "linux":
        return None
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _CLAIMED_BYTE, 1, 0)  # struct flock
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, lock)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def remove_abandoned(path: Path) -> bool | None:
    """Remove a file if nobody claims it any more.

    Returns:
        Whether it was removed; None where that cannot be told.

    Raises:
        OSError: It cannot be removed.
    """
    if sys.platform != "linux":
        return None
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        is_ours = claim(fd)
        if is_ours:
            # While it is ours: whoever has just made it sees that it is gone when he claims it.
            path.unlink(missing_ok=True)
        return is_ours
    finally:
        os.close(fd)


def stream_sha256(file: BinaryIO) -> str:
    """The SHA-256 of what an open file holds from where it is on, hexadecimal."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def file_sha256(path: Path, *, refusal: type[FaceblurError] = InputError) -> str:
    """The SHA-256 of a file, hexadecimal; an error of the kind of `refusal` if it has none."""
    try:
        with path.open("rb") as file:
            return stream_sha256(file)
    except OSError as error:
        raise refusal(f"cannot read {path}: {error.strerror}") from error


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON for people to read.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def canonical_sha256(values: Mapping[str, Any]) -> str:
    """The SHA-256 of values that JSON has, hexadecimal, whatever the order of their names."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
