"""The audit of what was masked: its format, and a reader that shows what was changed in it.

An audit is a folder:

    00000001.jsonl    the manifest of the first output: one line of JSON with the facts, then one
    00000002.jsonl    line for each frame
    …
    head.json         how many manifests there are, and the SHA-256 of the last

Each manifest holds the SHA-256 of the bytes of the one before it, and the head that of the last.

What that shows: any edit of a manifest, one that is missing, in the middle or at the end, and
manifests that changed places, as long as the rest was left alone.

What it cannot show, for there is no secret in it: an audit that was rewritten from the change
to its head. Two things close that gap. With a key (`FACEBLUR_AUDIT_KEY`) the head is sealed with
an HMAC, and nobody without the key can write a head that holds. And a head that was noted
elsewhere (`faceblur blur` prints it) must be found again with `Audit.holds`: that alone shows an
audit that was put back to an earlier, genuine state, or was deleted and started over. Neither shows
that the machine told the truth when it wrote.

Nothing in it is an image of anybody: faces are boxes. Names are relative to the tree that was
blurred, without the folders above, and the machine is named by its system and processor alone.

It is read without `faceblur.schema`: nobody may edit it, so one reason why it does not hold is
enough.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from faceblur.detection.detector import ModelInfo
from faceblur.errors import InputError
from faceblur.files import stream_sha256

FORMAT: Final = "faceblur-audit/1"
HEAD_FORMAT: Final = "faceblur-audit-head/1"
HEAD: Final = "head.json"
PENDING: Final = ".pending.jsonl"
"""The newest manifest, from just before the head counts it until it gets its name."""

BEGINNING: Final = "0" * 64
"""What the first manifest names as the hash of the one before."""

KEY_VARIABLE: Final = "FACEBLUR_AUDIT_KEY"


class AuditError(InputError):
    """An audit is not there, cannot be read, or was changed after it was written."""


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """One file, as it was when the manifest was written.

    Attributes:
        name: Relative to the tree that was blurred, with forward slashes; never absolute.
        sha256: Of its content, hexadecimal; None for a live stream.
        size_bytes: Of its content; None for a live stream.
    """

    name: str
    sha256: str | None
    size_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class FrameTally:
    """What happened to the frames.

    Attributes:
        checked: Frames that were written, each of which was checked; one line each.
        with_faces: Those of them in which something was masked.
        faces: Masked regions in all of them.
        dropped: Frames that were left out; always 0 for files.
        held: Times that an earlier safe frame was shown instead; always 0 for files.
    """

    checked: int
    with_faces: int
    faces: int
    dropped: int = 0
    held: int = 0


@dataclass(frozen=True, eq=False)
class AuditedFrame:
    """One frame, or one page of an image.

    Attributes:
        index: Counted from 0.
        pts_s: When it is shown, seconds; 0 for a still image.
        boxes: (N, 4) float32, x1 y1 x2 y2 of what was masked, in pixels of the upright frame,
            before the mask's expansion.
    """

    index: int
    pts_s: float
    boxes: npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What was done to make one output.

    Attributes:
        source: What was read.
        output: What was written.
        kind: `image`, `video` or `live`.
        width: Of the upright image, pixels.
        height: Of the upright image, pixels.
        model: What found the faces.
        detector: Where it ran: `server`, `embedded` or `in process`; `boxes` where faces were
            listed in a file (`settings` has its SHA-256) and the model, if known, made the list.
        settings: All that decides what is masked and how it is written: `policy` (as
            JSON has it) and the writing options.
        settings_sha256: Of the canonical JSON of `settings`.
        frames: What happened to the frames.
        started: With a time zone.
        ended: With a time zone.
        tools: Versions by name.
        platform: System and processor.
    """

    source: FileFacts
    output: FileFacts
    kind: str
    width: int
    height: int
    model: ModelInfo
    detector: str
    settings: Mapping[str, Any]
    settings_sha256: str
    frames: FrameTally
    started: datetime
    ended: datetime
    tools: Mapping[str, str]
    platform: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One manifest in its place in the chain.

    Attributes:
        number: Counted from 1.
        previous: SHA-256 of the manifest before.
        sha256: Of the bytes of this one.
        path: Where it lies; until it has its name, under another in the same folder.
        manifest: What it says.
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
                    boxes = np.array(frame["boxes"], np.float32).reshape(-1, 4)
                    yield AuditedFrame(index, float(frame["pts_s"]), boxes)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AuditError(
                f"the frames of {self.path} cannot be read: {_reason(error)}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class Audit:
    """An audit whose chain holds.

    Attributes:
        folder: Where it lies.
        entries: In the order they were written.
        head: SHA-256 of the last manifest.
        sealed: Whether the head carries an HMAC.
        checked_with_key: Whether that HMAC was checked.
    """

    folder: Path
    entries: tuple[Entry, ...]
    head: str
    sealed: bool
    checked_with_key: bool

    def of_output(self, sha256: str) -> Entry | None:
        """The newest manifest of an output of this content, if there is one."""
        for entry in reversed(self.entries):
            if entry.manifest.output.sha256 == sha256:
                return entry
        return None

    def holds(self, head: str) -> bool:
        """Whether a head that was noted earlier is part of this audit.

        Args:
            head: The SHA-256, or at least its first 12 digits.
        """
        head = head.strip().lower()
        return len(head) >= 12 and any(entry.sha256.startswith(head) for entry in self.entries)


@dataclass(frozen=True, kw_only=True)
class Head:
    """What `head.json` says.

    Attributes:
        entries: How many manifests there are.
        sha256: Of the last.
        seal: HMAC-SHA256 of both with the key; None without one.
    """

    entries: int
    sha256: str
    seal: str | None

    def is_sealed_with(self, key: bytes) -> bool:
        """Whether the seal was made with this key."""
        right = seal(key, self.entries, self.sha256)
        return self.seal is not None and hmac.compare_digest(self.seal, right)


def read_audit(folder: Path, *, key: bytes | None = None) -> Audit:
    """Read an audit and check that nothing in it was changed, moved or removed.

    It may be appended to meanwhile.

    Args:
        folder: Where it lies.
        key: What its head is sealed with, see `environment_key`; without it a seal is not
            checked.

    Raises:
        AuditError: There is none, or it does not hold. The message names the manifest.
    """
    folder = Path(folder)
    head = read_head(folder, key=key)
    if head is None:
        raise AuditError(f"there is no audit in {folder}; give the folder that --audit named")
    entries: list[Entry] = []
    while True:
        _extend(folder, entries, head)
        beyond = entry_path(folder, head.entries + 1)
        if not beyond.exists():
            break
        newer = read_head(folder, key=key)
        if newer is None or newer.entries <= head.entries:
            raise _broken(folder, f"{beyond.name} lies there, but the head does not count it")
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
            seal=fields.get("hmac_sha256"),
        )
    except FileNotFoundError as error:
        if any(folder.glob("[0-9]*.jsonl")):
            raise _broken(folder, f"{HEAD} is missing") from error
        return None
    except AuditError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(folder, f"{HEAD} cannot be read ({_reason(error)})") from error
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


def entry_path(folder: Path, number: int) -> Path:
    """Where a manifest lies."""
    return folder / f"{number:08d}.jsonl"


def _extend(folder: Path, entries: list[Entry], head: Head) -> None:
    """Read the manifests that are not read yet, up to the head, each against the one before."""
    while len(entries) < head.entries:
        entry = _read_entry(folder, len(entries) + 1)
        expected = entries[-1].sha256 if entries else BEGINNING
        if entry.previous != expected:
            guilty = entries[-1].path.name if entries else entry.path.name
            raise _broken(folder, f"{guilty} is not what {entry.path.name} was chained to")
        entries.append(entry)
    if head.sha256 != (entries[-1].sha256 if entries else BEGINNING):
        raise _broken(folder, f"the last of {len(entries)} is not the one that the head names")


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
            raise _broken(folder, f"{path.name} is missing") from error
    except (OSError, ValueError) as error:
        raise _broken(folder, f"{path.name} cannot be read ({_reason(error)})") from error
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
            raise _broken(folder, f"{path.name} was written as number {fields['entry']}")
        return Entry(
            number=number,
            previous=str(fields["previous"]),
            sha256=sha256,
            path=path,
            manifest=_manifest(fields),
        )
    except AuditError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise _broken(folder, f"{path.name} cannot be read ({_reason(error)})") from error


def _manifest(fields: Mapping[str, Any]) -> Manifest:
    return Manifest(
        source=_file(fields["source"]),
        output=_file(fields["output"]),
        kind=str(fields["kind"]),
        width=int(fields["width"]),
        height=int(fields["height"]),
        model=ModelInfo(name=str(fields["model"]["name"]), sha256=str(fields["model"]["sha256"])),
        detector=str(fields["detector"]),
        settings=dict(fields["settings"]),
        settings_sha256=str(fields["settings_sha256"]),
        frames=FrameTally(**fields["frames"]),
        started=datetime.fromisoformat(fields["started"]),
        ended=datetime.fromisoformat(fields["ended"]),
        tools=dict(fields["tools"]),
        platform=str(fields["platform"]),
    )


def _file(fields: Mapping[str, Any]) -> FileFacts:
    return FileFacts(name=str(fields["name"]), sha256=fields["sha256"], size_bytes=fields["bytes"])


def _broken(folder: Path, what: str) -> AuditError:
    return AuditError(
        f"the audit in {folder} does not hold: {what}; do not rely on it, and begin a new one in "
        "another folder"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no {error.args[0]}"
    return getattr(error, "strerror", None) or str(error)
