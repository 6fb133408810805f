"""Read an audit, and show what was changed in it."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from faceblur.files import stream_sha256
from faceblur.proof.audit.manifest import (
    BEGINNING,
    FORMAT,
    HEAD,
    HEAD_FORMAT,
    KEY_VARIABLE,
    PENDING,
    AuditedFrame,
    AuditError,
    Manifest,
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One manifest in its place in the chain.

    Attributes:
        number: Counted from 1.
        previous: SHA-256 of the manifest before.
        sha256: Of the bytes of this one.
        path: Where it lies; until it has its name, under another in the same folder.
    """

    number: int
    previous: str
    sha256: str
    path: Path
    manifest: Manifest

    def frames(self) -> Iterator[AuditedFrame]:
        """Read the frames, one at a time.

        Raises:
            AuditError: The file has gone or changed meanwhile.
        """
        newest = self.path.with_name(PENDING)
        try:
            path = self.path if self.path.exists() else newest
            with path.open(encoding="utf-8") as lines:
                for index, line in enumerate(islice(lines, 1, None)):
                    frame = json.loads(line)
                    boxes, unmasked = (
                        np.array(each, np.float32).reshape(-1, 4)
                        for each in (frame["boxes"], frame.get("unmasked", []))
                    )
                    yield AuditedFrame(index, float(frame["pts_s"]), boxes, unmasked)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AuditError(
                f"the frames of {self.path} cannot be read: {reason_of(error)}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class Audit:
    """An audit whose chain holds.

    Attributes:
        entries: In the order they were written.
        head: SHA-256 of the last manifest, or the root over several chains.
        sealed: Whether the head carries an HMAC.
        checked_with_key: Whether that HMAC was checked.
        earlier: Of several chains, what the head was each time that one was sealed.
    """

    folder: Path
    entries: tuple[Entry, ...]
    head: str
    sealed: bool
    checked_with_key: bool
    earlier: tuple[str, ...] = ()

    def of_output(self, sha256: str) -> Entry | None:
        """The newest manifest of an output of this content, if there is one."""
        made = (e for e in reversed(self.entries) if e.manifest.output.sha256 == sha256)
        return next(made, None)

    def holds(self, head: str) -> bool:
        """Whether a head that was noted earlier is part of this audit.

        Args:
            head: The SHA-256, or at least its first 12 digits.
        """
        head = head.strip().lower()
        known = (*(entry.sha256 for entry in self.entries), *self.earlier)
        return len(head) >= 12 and any(each.startswith(head) for each in known)


@dataclass(frozen=True, kw_only=True)
class Head:
    """What `head.json` says.

    Attributes:
        sha256: Of the last.
        seal: HMAC-SHA256 of both with the key; None without one.
    """

    entries: int
    sha256: str
    seal: str | None

    def is_sealed_with(self, key: bytes) -> bool:
        """Whether the seal was made with this key."""
        right = seal(key, self.entries, self.sha256)
        return self.seal is not None and is_same_mac(self.seal, right)


def read_audit(folder: Path, *, key: bytes | None = None, beginning: str = BEGINNING) -> Audit:
    """Read an audit and check that nothing in it was changed, moved or removed.

    It may be appended to meanwhile.

    Args:
        folder: Where it lies.
        key: What its head is sealed with, see `environment_key`; without it a seal is not
            checked.
        beginning: What its first manifest names as the hash of the one before.

    Raises:
        AuditError: There is none, or it does not hold. The message names the manifest.
    """
    folder = Path(folder)
    head = read_head(folder, key=key)
    if head is None:
        raise AuditError(f"there is no audit in {folder}; give the folder that --audit named")
    entries: list[Entry] = []
    while True:
        _extend(folder, entries, head, beginning)
        beyond = entry_path(folder, head.entries + 1)
        if not beyond.exists():
            break
        newer = read_head(folder, key=key)
        if newer is None or newer.entries <= head.entries:
            raise broken_audit(folder, f"{beyond.name} lies there, but the head does not count it")
        head = newer
    return Audit(
        folder=folder,
        entries=tuple(entries),
        head=head.sha256,
        sealed=head.seal is not None,
        checked_with_key=key is not None,
    )


def read_head(folder: Path, *, key: bytes | None = None) -> Head | None:
    """Read an audit's head; None where there is no audit.

    Raises:
        AuditError: It is missing though there are manifests, is damaged, or is not sealed with
            the key.
    """
    path = folder / HEAD
    try:
        fields = json.loads(path.read_bytes())
        if fields["format"] != HEAD_FORMAT:
            raise AuditError(f"{path} has the format {fields['format']}; update faceblur")
        head = Head(
            entries=int(fields["entries"]),
            sha256=str(fields["sha256"]),
            seal=None if fields.get("hmac_sha256") is None else str(fields["hmac_sha256"]),
        )
    except FileNotFoundError as error:
        if any(folder.glob("[0-9]*.jsonl")):
            raise broken_audit(folder, f"{HEAD} is missing") from error
        return None
    except AuditError:
        raise
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise broken_audit(folder, f"{HEAD} cannot be read ({reason_of(error)})") from error
    if key is not None and head.seal is None:
        raise AuditError(f"the audit in {folder} is not sealed, though {KEY_VARIABLE} is set")
    if key is not None and not head.is_sealed_with(key):
        raise AuditError(
            f"the audit in {folder} was sealed with another key than the one in {KEY_VARIABLE}, "
            f"or its {HEAD} was changed"
        )
    return head


def environment_key() -> bytes | None:
    """The key in FACEBLUR_AUDIT_KEY; None where there is none."""
    return os.environ.get(KEY_VARIABLE, "").encode() or None


def seal(key: bytes, entries: int, sha256: str) -> str:
    """The HMAC-SHA256 of a head, hexadecimal."""
    return hmac.new(key, f"{HEAD_FORMAT} {entries} {sha256}".encode(), "sha256").hexdigest()


def is_same_mac(given: str, right: str) -> bool:
    """Whether an HMAC that was read, which may be any text, is the right one."""
    return hmac.compare_digest(given.encode(errors="replace"), right.encode())


def entry_path(folder: Path, number: int) -> Path:
    """Where a manifest lies."""
    return folder / f"{number:08d}.jsonl"


def _extend(folder: Path, entries: list[Entry], head: Head, beginning: str) -> None:
    """Read the manifests that are not read yet, up to the head, each against the one before."""
    while len(entries) < head.entries:
        entry = _read_entry(folder, len(entries) + 1)
        expected = entries[-1].sha256 if entries else beginning
        if entry.previous != expected:
            if not entries:
                raise broken_audit(folder, f"{entry.path.name} belongs to another audit")
            guilty = entries[-1].path.name
            raise broken_audit(folder, f"{guilty} is not what {entry.path.name} was chained to")
        entries.append(entry)
    if head.sha256 != (entries[-1].sha256 if entries else beginning):
        raise broken_audit(folder, f"the last of {len(entries)} is not the one that the head names")


def _read_entry(folder: Path, number: int) -> Entry:
    path = entry_path(folder, number)
    fields: dict[str, Any] = {}
    try:
        sha256, fields = _facts(path)
    except FileNotFoundError:
        # Whoever appends may just be giving the newest one its name, or have died before.
        with suppress(OSError, ValueError):
            sha256, fields = _facts(folder / PENDING)
        if fields.get("entry") == number:
            return _entry(folder, path, number, sha256, fields)
        try:
            sha256, fields = _facts(path)
        except (OSError, ValueError) as error:
            raise broken_audit(folder, f"{path.name} is missing") from error
    except (OSError, ValueError) as error:
        raise broken_audit(folder, f"{path.name} cannot be read ({reason_of(error)})") from error
    return _entry(folder, path, number, sha256, fields)


def _facts(path: Path) -> tuple[str, dict[str, Any]]:
    """The hash of a manifest, and its first line."""
    with path.open("rb") as file:
        fields = json.loads(file.readline())
        file.seek(0)
        sha256 = stream_sha256(file)
    if not isinstance(fields, dict):
        raise ValueError("it does not begin with an object")
    return sha256, fields


def _entry(folder: Path, path: Path, number: int, sha256: str, fields: dict[str, Any]) -> Entry:
    try:
        if fields["format"] != FORMAT:
            raise AuditError(f"{path} has the format {fields['format']}; update faceblur")
        if fields["entry"] != number:
            raise broken_audit(folder, f"{path.name} was written as number {fields['entry']}")
        return Entry(
            number=number,
            previous=str(fields["previous"]),
            sha256=sha256,
            path=path,
            manifest=Manifest.from_json(fields),
        )
    except AuditError:
        raise
    except (AttributeError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise broken_audit(folder, f"{path.name} cannot be read ({reason_of(error)})") from error


def broken_audit(folder: Path, what: str) -> AuditError:
    """The error of an audit that does not hold, and why."""
    return AuditError(
        f"the audit in {folder} does not hold: {what}; do not rely on it, and begin a new one in "
        "another folder"
    )


def reason_of(error: Exception) -> str:
    """Why a file cannot be read, for a person."""
    if isinstance(error, KeyError):
        return f"no {error.args[0]}"
    return getattr(error, "strerror", None) or str(error)
