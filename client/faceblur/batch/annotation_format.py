"""The form of a list of faces, as `faceblur blur --json` writes it and `--boxes` reads it.

It is read and written in this one module, so that both change together. A person may have edited
it, so each part checks itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Final

from faceblur.batch.corrections import Correction
from faceblur.detection.detector import ModelInfo
from faceblur.detections import DRAWN_SCORE, MediaDetections
from faceblur.errors import InputError
from faceblur.files import check_place, file_sha256, write_json
from faceblur.masks.policy import Policy
from faceblur.schema.conversion import from_json, to_json
from faceblur.schema.values import named

VERSION: Final = 2
"""Of the format, as it is written. Version 1 had no tracks."""

READ: Final = (1, 2)
"""Versions that are read."""

_MAX_PIXEL: Final = 1e6
_MAX_TRACK: Final = 2**31 - 1

_KEYS: Final = {"version", "model", "policy", "media", "path", "sha256", "width", "height"} | {
    *("tracks", "frames", "index", "pts_s", "faces")
}
"""Of the whole, of a file and of a frame."""

_MEANT: Final = ("corrections", "correction", "keyframes", "keyframe", "remove", "removals")
"""Keys that change what is masked, or nearly: silently ignored, a face would show."""


class _Part:
    """A part of the file; what is not known in it does no harm, unless it is in `_MEANT`."""

    more_allowed: ClassVar = True


@dataclass(frozen=True)
class FacePart(_Part):
    """A face, in pixels of the upright image.

    Attributes:
        box: Left, top, right and bottom.
        score: 0 to 1.
        landmarks: Five points, x and y; None if somebody drew the box.
        track: From 1 on; 0 for none.

    Raises:
        InputError: It cannot be a face.
    """

    box: tuple[float, float, float, float]
    score: float = DRAWN_SCORE
    landmarks: tuple[tuple[float, float], ...] | None = None
    track: int = 0

    def __post_init__(self) -> None:
        """Check it."""
        x0, y0, x1, y1 = self.box
        if x1 < x0 or y1 < y0:
            raise InputError("the box ends before it starts; give left, top, right and bottom")
        if not 0 <= self.score <= 1:
            raise InputError(f"the score must be 0 to 1, not {self.score:g}")
        points = self.landmarks or ()
        if len(points) not in (0, 5):
            raise InputError("the landmarks must be five points, or left out")
        if max(map(abs, chain(self.box, *points))) > _MAX_PIXEL:
            raise InputError("it lies beyond any image")
        if not 0 <= self.track <= _MAX_TRACK:
            raise InputError(f"the track must be a number from 1 on, not {self.track}")

    def row(self) -> list[float]:
        """The face as in `Detections.rows`."""
        x0, y0, x1, y1 = self.box
        points = self.landmarks or [((x0 + x1) / 2, (y0 + y1) / 2)] * 5
        return [*self.box, self.score, *chain(*points)]


@dataclass(frozen=True)
class FramePart(_Part):
    """A frame with its faces, at a time of the video's own clock, seconds."""

    index: int
    pts_s: float
    faces: tuple[FacePart, ...]


@dataclass(frozen=True)
class TrackPart(_Part):
    """A track, and the spans, seconds, in which it is steady and certain: see `Certainty`."""

    id: int
    steady: tuple[tuple[float, float], ...] = ()
    certain: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class MediaPart(_Part):
    """An image or video.

    Attributes:
        path: As it was named when it was detected in.
        width: Upright, pixels; the height likewise.
        frames: Each a `FramePart` in JSON, read when it is needed.
        sha256: Of its content.
    """

    path: str
    width: int
    height: int
    frames: tuple[Any, ...]
    sha256: str | None = None
    tracks: tuple[TrackPart, ...] = ()
    corrections: tuple[Correction, ...] = ()


@dataclass(frozen=True)
class ModelPart(_Part):
    """What found the faces, and the SHA-256 of its file."""

    name: str
    sha256: str


@dataclass(frozen=True)
class _VersionPart(_Part):
    version: int


@dataclass(frozen=True)
class Content(_Part):
    """The whole file; `policy` is that in JSON, and may lack settings."""

    media: tuple[MediaPart, ...]
    model: ModelPart | None = None
    policy: dict[str, Any] = field(default_factory=dict)


def read_content(path: Path) -> tuple[Content, str]:
    """Read a file: what it says, and the SHA-256 of its bytes.

    Raises:
        InputError: It cannot be read or is something else.
    """
    try:
        content = path.read_bytes()
        value = json.loads(content)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is no JSON file; make one with --json") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is no JSON file any more: {error.msg} in line {error.lineno}, column "
            f"{error.colno}"
        ) from error
    version = from_json(value, _VersionPart, str(path)).version
    if version not in READ:
        raise InputError(
            f"{path} has version {version} of the format, not 1 or 2; make it again with "
            "--json of this version of faceblur"
        )
    _refuse_ignored(value, path)
    return from_json(value, Content, str(path)), hashlib.sha256(content).hexdigest()


def _refuse_ignored(value: object, path: Path) -> None:
    """Refuse what somebody wrote to change what is masked, and what would change nothing.

    Raises:
        InputError: The key of corrections is misspelt, or they stand where nobody reads them.
    """
    content = named(value)
    _refuse_keys(content, path, "outside of media")
    media = content.get("media")
    for entry in media if isinstance(media, list) else []:
        if not isinstance(entry, dict):
            continue
        _refuse_keys(entry, path, "in media", known="corrections")
        frames = entry.get("frames")
        for i, frame in enumerate(frames if isinstance(frames, list) else []):
            if isinstance(frame, dict):
                _refuse_keys(frame, path, f"in frames[{i}]")


def _refuse_keys(part: dict[str, Any], path: Path, where: str, known: str = "") -> None:
    for name in part:
        if name in _KEYS or name == known:
            continue
        if get_close_matches(name.lower(), _MEANT, n=1, cutoff=0.7):
            raise InputError(
                f"{path} has {name!r} {where}, which nothing reads: corrections are a list "
                '"corrections" in the entry of the video, beside its "frames"'
            )


def check_list_place(path: Path) -> None:
    """Find out whether a list may be written there, before there is any work to lose.

    Raises:
        InputError: One is there that somebody has put corrections into.
        OutputError: It cannot be written.
    """
    check_place(path)
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    media = value.get("media") if isinstance(value, dict) else None
    for entry in media if isinstance(media, list) else []:
        if isinstance(entry, dict) and entry.get("corrections"):
            raise InputError(
                f"{path} has corrections, which would be lost: use it with --boxes {path}, or name "
                "another file"
            )


def write_findings(
    path: Path, model: ModelInfo | None, policy: Policy, reports: Sequence[MediaDetections]
) -> None:
    """Write what was masked, boxes in source pixels after orientation.

    Raises:
        InputError: A source has gone meanwhile.
        OutputError: The file cannot be written.
    """
    findings = {
        "version": VERSION,
        "model": model
        and {
            "name": model.name,
            "sha256": model.sha256,
            "threshold": policy.detection.threshold,
            "size": policy.detection.size,
        },
        "policy": to_json(policy),
        "media": [_entry(report) for report in reports],
    }
    write_json(path, findings)


def hashed(report: MediaDetections) -> MediaDetections:
    """A report with the hash of its source: the faces are of no other.

    Raises:
        InputError: The source has gone meanwhile.
    """
    return report if report.sha256 else replace(report, sha256=file_sha256(report.path))


def _entry(report: MediaDetections) -> dict[str, Any]:
    entry = report.to_json()
    return {"path": entry.pop("path"), "sha256": hashed(report).sha256, **entry}
