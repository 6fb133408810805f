"""Append to an audit: one manifest for each output, safely from several threads and processes."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from faceblur.detections import PIXEL_DIGITS, TIME_DIGITS, FrameDetections
from faceblur.errors import OutputError
from faceblur.files import atomic_path, file_sha256
from faceblur.proof.audit.manifest import (
    BEGINNING,
    FORMAT,
    HEAD,
    HEAD_FORMAT,
    PENDING,
    SEAL,
    AuditError,
    Manifest,
)
from faceblur.proof.audit.reader import Entry, Head, entry_path, read_audit, read_head, seal

LOCK: Final = ".lock"
LOCK_TIMEOUT_S: Final = 60.0


class AuditLog:
    """An audit that is being written to.

    A manifest counts from the moment that the head names it. Its file is complete on the disk
    before that, under another name; it gets its own right after. So whenever the power goes, the
    chain holds, and the next one to append or read finds all that was counted.

    Args:
        folder: Where it lies, or will.
        key: What the head is sealed with; None for no seal. An audit stays as it began.
        beginning: What its first manifest names as the hash of the one before.
        covered: What has its manifest elsewhere, as `coverage` gives it.

    Raises:
        AuditError: What is there does not hold, or is sealed otherwise.
        OutputError: The folder cannot be written to.
    """

    def __init__(
        self,
        folder: Path,
        *,
        key: bytes | None = None,
        beginning: str = BEGINNING,
        covered: Collection[bytes] = (),
    ) -> None:
        self.folder = Path(folder)
        self._key = key
        self._beginning = beginning
        self._elsewhere = covered
        self._lock = threading.Lock()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        with self._exclusive():
            self._check_all()

    @property
    def head(self) -> tuple[int, str]:
        """How many manifests there are by now, and the SHA-256 of the last."""
        head = self._head()
        return head.entries, head.sha256

    def covers(self, *, source: str, output: str, settings: str, model: str) -> bool:
        """Whether an output has its manifest, all given by their SHA-256.

        Manifests that other processes append after this object was made do not count.
        """
        key = _digest(source, output, settings, model)
        return key in self._covered or key in self._elsewhere

    def append(
        self,
        manifest: Manifest,
        frames: Iterable[FrameDetections],
        unmasked: Iterable[FrameDetections] = (),
    ) -> Entry:
        """Add a manifest; when this returns it is on the disk.

        Args:
            manifest: The facts.
            frames: What was masked.
            unmasked: What was left unmasked because of its track: in each frame, or nothing.

        Raises:
            AuditError: Somebody else has broken the chain meanwhile.
            OutputError: It cannot be written.
        """
        try:
            with self._exclusive():
                head = self._head()
                self._finish_pending(head)
                entry = self._write(head, manifest, frames, unmasked)
                self._covered.add(coverage(manifest))
                return entry
        except OSError as error:
            raise self._unwritable(error) from error

    def _check_all(self) -> None:
        if (head := read_head(self.folder, key=self._key)) is None:
            if (self.folder / SEAL).exists():
                raise AuditError(
                    f"{self.folder} holds the chains of several workers: name another folder, or "
                    "add to it with --shard 0/1"
                )
            self._covered: set[bytes] = set()
            text = _head_text(0, self._beginning, self._key)
            with atomic_path(self.folder / HEAD) as temporary:
                temporary.write_text(text, encoding="utf-8")
            return
        if head.seal is not None and self._key is None:
            raise AuditError(
                f"the audit in {self.folder} is sealed with a key: set FACEBLUR_AUDIT_KEY to it, "
                "or begin another audit in a new folder"
            )
        audit = read_audit(self.folder, key=self._key, beginning=self._beginning)
        self._covered = {coverage(entry.manifest) for entry in audit.entries}

    def _head(self) -> Head:
        head = read_head(self.folder, key=self._key)
        if head is None:
            raise AuditError(f"the audit in {self.folder} has gone; begin a new one")
        return head

    def _finish_pending(self, head: Head) -> None:
        """Give the newest manifest its name, where its writer was killed before it could."""
        if head.entries == 0:
            return
        path, pending = entry_path(self.folder, head.entries), self.folder / PENDING
        if not path.exists() and pending.exists() and file_sha256(pending) == head.sha256:
            pending.replace(path)
        if not path.exists() or file_sha256(path) != head.sha256:
            raise AuditError(
                f"the audit in {self.folder} does not hold any more: {path.name} is not what the "
                "head names; begin a new one in another folder"
            )
        if entry_path(self.folder, head.entries + 1).exists():
            raise AuditError(
                f"the audit in {self.folder} does not hold any more: there are more manifests "
                "than the head counts; begin a new one in another folder"
            )

    def _write(
        self,
        head: Head,
        manifest: Manifest,
        frames: Iterable[FrameDetections],
        unmasked: Iterable[FrameDetections],
    ) -> Entry:
        number, digest = head.entries + 1, hashlib.sha256()
        pending, final = self.folder / PENDING, entry_path(self.folder, number)
        with pending.open("wb") as file:
            for line in _lines(number, head.sha256, manifest, frames, unmasked):
                digest.update(line)
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        sha256 = digest.hexdigest()
        with atomic_path(self.folder / HEAD) as temporary:
            temporary.write_text(_head_text(number, sha256, self._key), encoding="utf-8")
        pending.replace(final)
        return Entry(
            number=number, previous=head.sha256, sha256=sha256, path=final, manifest=manifest
        )

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep other threads and other processes out."""
        with self._lock, exclusively(self.folder):
            yield

    def _unwritable(self, error: Exception) -> OutputError:
        return unwritable(self.folder, error)


@contextmanager
def exclusively(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to an audit.

    Raises:
        OutputError: Somebody else does, and does not stop, or the folder cannot be written to.
    """
    lock = FileLock(folder / LOCK, timeout=LOCK_TIMEOUT_S)
    try:
        lock.acquire(poll_interval=0.01)
    except Timeout as error:
        raise OutputError(
            f"somebody else has held {folder / LOCK} for {LOCK_TIMEOUT_S:g} s; wait for them, or "
            "name another folder with --audit"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise unwritable(folder, error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            lock.release()


def unwritable(folder: Path, error: Exception) -> OutputError:
    """The error of an audit that cannot be written, and why."""
    reason = getattr(error, "strerror", None) or str(error)
    return OutputError(f"cannot write the audit in {folder}: {reason}; choose another")


def coverage(manifest: Manifest) -> bytes:
    """What a manifest stands for, in few bytes: source, output, settings and model."""
    return _digest(
        manifest.source.sha256 or "",
        manifest.output.sha256 or "",
        manifest.settings_sha256,
        manifest.model.sha256,
    )


def _digest(*parts: str) -> bytes:
    return hashlib.sha256(" ".join(parts).encode()).digest()


def _head_text(entries: int, sha256: str, key: bytes | None) -> str:
    fields = {"format": HEAD_FORMAT, "entries": entries, "sha256": sha256}
    if key is not None:
        fields["hmac_sha256"] = seal(key, entries, sha256)
    return json.dumps(fields, indent=1) + "\n"


def _lines(
    number: int,
    previous: str,
    manifest: Manifest,
    frames: Iterable[FrameDetections],
    unmasked: Iterable[FrameDetections],
) -> Iterator[bytes]:
    facts = {"format": FORMAT, "entry": number, "previous": previous}
    yield _line(facts | manifest.to_json())
    for frame, shown in zip_longest(frames, unmasked):
        boxes = _boxes(frame)
        pts_s = round(float(frame.pts_s), TIME_DIGITS)
        line = {"pts_s": pts_s, "faces": len(boxes), "boxes": boxes}
        yield _line(line if shown is None else {**line, "unmasked": _boxes(shown)})


def _boxes(frame: FrameDetections) -> list[list[float]]:
    return [[round(float(value), PIXEL_DIGITS) for value in box] for box in frame.detections.boxes]


def _line(fields: Mapping[str, Any]) -> bytes:
    text = json.dumps(fields, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"
