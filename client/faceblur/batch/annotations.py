"""Faces from a JSON file, as `faceblur blur --json` writes it, to be masked without detecting.

A person may have edited it. So everything is checked against the image or video before anything
is masked with it, and whatever is missing is an error: a frame without faces says so. The format is
read and written in this one module, so that both change together.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from faceblur.batch.corrections import Correction, FrameTimes, Removal, removed_track
from faceblur.batch.track_choice import TrackChoice
from faceblur.detection.detector import ModelInfo
from faceblur.detections import (
    TIME_DIGITS,
    Detections,
    FrameDetectionsLog,
    MediaDetections,
)
from faceblur.errors import InputError
from faceblur.files import check_place, file_sha256, write_json
from faceblur.masks.policy import Policy
from faceblur.schema import (
    FormError,
    Mistake,
    MistakesError,
    build,
    from_json,
    located,
    named,
    to_json,
)
from faceblur.tracking.naming import Certainty

VERSION: Final = 2
"""Of the format, as it is written. Version 1 had no tracks."""

READ: Final = (1, 2)
"""Versions that are read."""


_SAME_TIME_S: Final = Fraction(1, 10**TIME_DIGITS)
"""Times are written to so many digits."""

_DRAWN_SCORE: Final = 1.0
"""Of a face without a score: somebody says that it is one."""

_MAX_PIXEL: Final = 1e6
_MAX_TIME_S: Final = 1e9
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
class _Face(_Part):
    box: tuple[float, float, float, float]
    score: float = _DRAWN_SCORE
    landmarks: tuple[tuple[float, float], ...] | None = None
    track: int = 0

    def __post_init__(self) -> None:
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
class _Frame(_Part):
    index: int
    pts_s: float
    faces: tuple[_Face, ...]


@dataclass(frozen=True)
class _Track(_Part):
    id: int
    steady: tuple[tuple[float, float], ...] = ()
    certain: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class _Media(_Part):
    path: str
    width: int
    height: int
    frames: tuple[Any, ...]
    sha256: str | None = None
    tracks: tuple[_Track, ...] = ()
    corrections: tuple[Correction, ...] = ()


@dataclass(frozen=True)
class _Model(_Part):
    name: str
    sha256: str


@dataclass(frozen=True)
class _Version(_Part):
    version: int


@dataclass(frozen=True)
class _Content(_Part):
    media: tuple[_Media, ...]
    model: _Model | None = None
    policy: dict[str, Any] = field(default_factory=dict)


class MediaAnnotations:
    """What a JSON file says of one image or video.

    Attributes:
        log: The faces of its frames.
        certainty: For each track, the spans in which it is surely one face.
    """

    def __init__(self, media: _Media, where: str) -> None:
        """Check and take in all frames.

        Raises:
            InputError: Something is missing or wrong.
        """
        self.where = where
        self.path = media.path
        self.sha256 = media.sha256 or ""
        self.corrections = media.corrections
        self.certainty = {
            track.id: Certainty(track.steady, track.certain) for track in media.tracks
        }
        if len(self.certainty) < len(media.tracks):
            raise InputError(f"{where} has several tracks with one id; leave the one that counts")
        self._size = media.width, media.height
        self.log = FrameDetectionsLog()
        self._indices: list[int] = []
        mistakes: list[Mistake] = []
        for i, frame in enumerate(media.frames):
            try:
                self._add(build(_Frame, named(frame)))
            except InputError as error:
                mistakes += located(error, "frames", i)
        if mistakes:
            raise MistakesError(mistakes, where)
        for number, each in enumerate(self.corrections, start=1):
            try:
                each.check(*self._size)
            except InputError as error:
                raise InputError(f"correction {number} of {where} {error}") from error

    def check_size(self, width: int, height: int) -> None:
        """Compare with the size of the image, in pixels.

        Raises:
            InputError: It is another.
        """
        if self._size != (width, height):
            own = "×".join(map(str, self._size))
            raise InputError(
                f"{self.where} is {own} pixels, but the file {width}×{height}; make the JSON "
                "from this very file"
            )

    def faces(self, index: int, pts_s: Fraction | float) -> Detections:
        """The faces of a frame.

        Raises:
            InputError: The frame is not listed, or at another time.
        """
        at = bisect_left(self._indices, index)
        if at == len(self._indices) or self._indices[at] != index:
            raise InputError(
                f"frame {index} at {float(pts_s):.3f} s is not in {self.where}: nobody has "
                'checked it; list it, with "faces": [] if there are none'
            )
        frame = self.log[at]
        if abs(Fraction(frame.pts_s) - Fraction(pts_s)) > _SAME_TIME_S:
            raise InputError(
                f"frame {index} is at {float(frame.pts_s):.6f} s in {self.where}, but at "
                f"{float(pts_s):.6f} s in the file; make the JSON from this very file"
            )
        return frame.detections

    def times(self, start_s: Fraction) -> FrameTimes:
        """The frames by their times, in a video that starts at a time of its clock, seconds."""
        return FrameTimes(self._indices, [Fraction(each.pts_s) - start_s for each in self.log])

    def removed(self, times: FrameTimes) -> dict[int, tuple[tuple[float, float], ...]]:
        """Tracks that corrections remove, and the spans, first and last time, where they do.

        A track is removed only where nobody else can have been taken for it.

        Raises:
            InputError: A correction means no track, or more than one.
        """
        certain = {track: spans.certain for track, spans in self.certainty.items()}
        found = {}
        for number, each in enumerate(self.corrections, start=1):
            if each.remove is None:
                continue
            name = f"correction {number} of {self.where}"
            track = self._removed_track(each.remove, times, name)
            if track not in certain:
                known = ", ".join(map(str, sorted(certain)[:10])) or "none"
                raise InputError(
                    f"{name} removes track {track}, which the list does not have; it has {known}"
                )
            found[track] = certain[track]
        return found

    def kept(self, removed: Mapping[int, Sequence[tuple[float, float]]]) -> list[str]:
        """Say how many faces of removed tracks stay masked, since they may be somebody else's."""
        times, frames, _, tracks = self.log.columns()
        notes = []
        for track, spans in removed.items():
            of_track = times[frames[tracks == track]]
            gone = np.zeros(len(of_track), bool)
            for first, last in spans:
                gone |= (of_track >= first - 1e-6) & (of_track <= last + 1e-6)
            if stay := int((~gone).sum()):
                notes.append(
                    f"track {track} stays masked in {stay} of {len(of_track)} frames, where it "
                    "may be somebody else"
                )
        return notes

    def _removed_track(self, removal: Removal, times: FrameTimes, name: str) -> int:
        if removal.track is not None:
            return removal.track
        assert removal.at is not None
        assert removal.box is not None
        index = times.index(removal.at.seconds, f"the face that {name} removes")
        faces = self.log[bisect_left(self._indices, index)].detections
        try:
            return removed_track(faces.boxes.tolist(), faces.tracks.tolist(), removal.box)
        except InputError as error:
            raise InputError(f"{name} {error}") from error

    def check_end(self, count: int) -> None:
        """Compare with the number of frames that the file turned out to have.

        Raises:
            InputError: More are listed.
        """
        if self._indices and self._indices[-1] >= count:
            raise InputError(
                f"frame {self._indices[-1]} is in {self.where}, but the file has only {count}; "
                "make the JSON from this very file"
            )

    def _add(self, frame: _Frame) -> None:
        if frame.index < 0 or (self._indices and frame.index <= self._indices[-1]):
            raise FormError(f"has index {frame.index}: frames must be in order, each once")
        if abs(frame.pts_s) > _MAX_TIME_S:
            raise FormError(f"is at {frame.pts_s:g} s, which no video lasts")
        rows = [face.row() for face in frame.faces]
        faces = Detections.from_rows(rows, [face.track for face in frame.faces])
        self._indices.append(frame.index)
        pts_s = Fraction(round(frame.pts_s * 10**TIME_DIGITS), 10**TIME_DIGITS)
        self.log.append(pts_s, faces)


@dataclass(frozen=True, eq=False)
class AnnotationFile:
    """A JSON file of faces.

    Attributes:
        policy: The policy it was made with, as in JSON; some settings may be missing.
        choice: Whom of those listed to leave unmasked; None for nobody.
    """

    path: Path
    sha256: str
    model: ModelInfo | None
    policy: dict[str, Any]
    _media: Sequence[_Media]
    choice: TrackChoice | None = None

    @classmethod
    def read(cls, path: Path) -> AnnotationFile:
        """Read a file.

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
        return cls._from_json(path, hashlib.sha256(content).hexdigest(), value)

    @classmethod
    def _from_json(cls, path: Path, sha256: str, value: object) -> AnnotationFile:
        version = from_json(value, _Version, str(path)).version
        if version not in READ:
            raise InputError(
                f"{path} has version {version} of the format, not 1 or 2; make it again with "
                "--json of this version of faceblur"
            )
        _refuse_ignored(value, path)
        content = from_json(value, _Content, str(path))
        model = None if content.model is None else ModelInfo(**asdict(content.model))
        return cls(path, sha256, model, content.policy, content.media)

    def leaves_faces_out(self) -> bool:
        """Whether faces that were found are missing from it, since nothing masked them.

        Raises:
            InputError: The policy in it is none.
        """
        policy = from_json(self.policy, Policy, f"the policy of {self.path}")
        spares = any(span.effect == "spare" for span in policy.spans)
        return spares or policy.min_face > 0 or any(zone.kind == "never" for zone in policy.zones)

    def media(self, source: Path) -> MediaAnnotations:
        """Find what the file says of an image or a video: by its content, else by its name.

        Raises:
            InputError: Nothing, or something wrong.
        """
        sha256 = file_sha256(source)
        same_content = [m for m in self._media if m.sha256 == sha256]
        same_name = [m for m in self._media if _same_path(m.path, source)]
        found = same_content
        if len(same_content) != 1:
            both = [m for m in same_content if m in same_name]
            unhashed = [m for m in same_name if m.sha256 is None]
            found = both if same_content else unhashed
        if len(found) == 1:
            return MediaAnnotations(found[0], f"the entry of {found[0].path} in {self.path}")
        if found or same_content:
            raise InputError(
                f"{self.path} has several entries for {source}; leave the one that counts"
            )
        if same_name:
            raise InputError(
                f"{source} is not the file that {self.path} was made from: its content differs; "
                "detect again without --boxes"
            )
        raise InputError(
            f"{self.path} says nothing of {source}; give a file it was made from, or detect "
            "without --boxes"
        )


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


def _same_path(recorded: str, source: Path) -> bool:
    return Path(recorded).resolve() == source.resolve()


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


def _entry(report: MediaDetections) -> dict[str, Any]:
    """A file in JSON, with the hash of its content: the faces are of no other."""
    entry = report.to_json()
    return {"path": entry.pop("path"), "sha256": file_sha256(report.path), **entry}
