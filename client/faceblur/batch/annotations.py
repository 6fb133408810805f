"""Faces from a JSON file, as `faceblur blur --json` writes it, to be masked without detecting.

A person may have edited it. So everything is checked against the picture or video before anything
is masked with it, and whatever is missing is an error: a frame without faces says so.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from faceblur.detection.detector import ModelInfo
from faceblur.detections import (
    ROW_WIDTH,
    TIME_DIGITS,
    Detections,
    FrameDetectionsLog,
    MediaDetections,
)
from faceblur.errors import InputError
from faceblur.files import atomic_path, file_sha256
from faceblur.masks.policy import Policy
from faceblur.schema import JsonObject, finite

VERSION: Final = 1
"""Of the format; readers refuse any other."""


_SAME_TIME_S: Final = Fraction(1, 10**TIME_DIGITS)
"""Times are written to so many digits."""

_DRAWN_SCORE: Final = 1.0
"""Of a face without a score: somebody says that it is one."""

_MAX_PIXEL: Final = 1e6
_MAX_TIME_S: Final = 1e9


class MediaAnnotations:
    """What a JSON file says of one picture or video.

    Attributes:
        where: What to call it in errors.
    """

    def __init__(self, value: object, where: str) -> None:
        """Check and take in all frames.

        Args:
            value: An entry of `media`.
            where: What to call it in errors.

        Raises:
            InputError: Something is missing or makes no sense.
        """
        read = JsonObject(value, where)
        self.where = where
        self.path = read.text("path")
        self.sha256 = read.text("sha256", "")
        self._size = read.whole("width"), read.whole("height")
        self._log = FrameDetectionsLog()
        self._indices: list[int] = []
        for place, frame in read.values("frames"):
            self._add(frame, place)

    def check_size(self, width: int, height: int) -> None:
        """Compare with the size of the picture, in pixels.

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

        Args:
            index: Counted from 0.
            pts_s: When it is shown, as in reports.

        Raises:
            InputError: The frame is not listed, or at another time.
        """
        at = bisect_left(self._indices, index)
        if at == len(self._indices) or self._indices[at] != index:
            raise InputError(
                f"frame {index} at {float(pts_s):.3f} s is not in {self.where}: nobody has "
                'checked it; list it, with "faces": [] if there are none'
            )
        frame = self._log[at]
        if abs(Fraction(frame.pts_s) - Fraction(pts_s)) > _SAME_TIME_S:
            raise InputError(
                f"frame {index} is at {float(frame.pts_s):.6f} s in {self.where}, but at "
                f"{float(pts_s):.6f} s in the file; make the JSON from this very file"
            )
        return frame.detections

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

    def _add(self, value: object, where: str) -> None:
        read = JsonObject(value, where)
        index, pts_s = read.whole("index"), read.number("pts_s")
        if index < 0 or (self._indices and index <= self._indices[-1]):
            raise InputError(f"{where} has index {index}: frames must be in order, each once")
        if abs(pts_s) > _MAX_TIME_S:
            raise InputError(f"{where} is at {pts_s:g} s, which no video lasts")
        rows = [_row(face, place) for place, face in read.values("faces")]
        faces = Detections.from_rows(np.array(rows, np.float32).reshape(-1, ROW_WIDTH))
        self._indices.append(index)
        self._log.append(Fraction(round(pts_s * 10**TIME_DIGITS), 10**TIME_DIGITS), faces)


@dataclass(frozen=True, eq=False)
class AnnotationFile:
    """A JSON file of faces.

    Attributes:
        path: The file.
        sha256: Of the file.
        model: What found the faces, as far as it says.
        policy: The policy it was made with, as in `Policy.to_json`; some settings may be missing.
    """

    path: Path
    sha256: str
    model: ModelInfo | None
    policy: dict[str, Any]
    _media: Sequence[dict[str, Any]]

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
        read = JsonObject(value, str(path))
        if read.whole("version") != VERSION:
            raise InputError(
                f"{path} has version {read.whole('version')} of the format, not {VERSION}; make "
                "it again with --json of this version of faceblur"
            )
        media = []
        for place, entry in read.values("media"):
            JsonObject(entry, place).text("path")
            media.append(entry)
        policy = read.any("policy", {})
        JsonObject(policy, f"the policy in {path}")
        model = read.any("model")
        return cls(path, sha256, None if model is None else _model(model, path), policy, media)

    def media(self, source: Path) -> MediaAnnotations:
        """Find what the file says of a picture or a video: by its content, else by its name.

        Raises:
            InputError: Nothing, or something that makes no sense.
        """
        try:
            sha256 = file_sha256(source)
        except OSError as error:
            raise InputError(f"cannot read {source}: {error.strerror}") from error
        same_content = [m for m in self._media if m.get("sha256") == sha256]
        same_name = [m for m in self._media if _same_path(m["path"], source)]
        found = same_content
        if len(same_content) != 1:
            both = [m for m in same_content if m in same_name]
            unhashed = [m for m in same_name if m.get("sha256") is None]
            found = both if same_content else unhashed
        if len(found) == 1:
            return MediaAnnotations(found[0], f"the entry of {found[0]['path']} in {self.path}")
        if found or same_content:
            raise InputError(
                f"{self.path} has several entries for {source}; leave the one that counts"
            )
        if same_name:
            raise InputError(
                f"{source} is not the file that {self.path} was made from: its content differs; "
                "detect anew without --boxes"
            )
        raise InputError(
            f"{self.path} says nothing of {source}; give a file it was made from, or detect "
            "without --boxes"
        )


def _model(value: object, path: Path) -> ModelInfo:
    read = JsonObject(value, f"the model in {path}")
    return ModelInfo(read.text("name"), read.text("sha256"))


def _row(value: object, where: str) -> list[float]:
    """A face as in `Detections.rows`."""
    read = JsonObject(value, where)
    box = _numbers(read.any("box"), 4, f"the box of {where}")
    x0, y0, x1, y1 = box
    if x1 < x0 or y1 < y0:
        raise InputError(
            f"the box of {where} ends before it starts; give left, top, right and bottom"
        )
    score = read.number("score", _DRAWN_SCORE)
    if not 0 <= score <= 1:
        raise InputError(f"the score of {where} must be 0 to 1, not {score:g}")
    landmarks = read.any("landmarks")
    if landmarks is None or landmarks == []:
        points = [(x0 + x1) / 2, (y0 + y1) / 2] * 5
    else:
        if not isinstance(landmarks, list) or len(landmarks) != 5:
            raise InputError(f"the landmarks of {where} must be five points, or left out")
        points = [
            number for point in landmarks for number in _numbers(point, 2, f"a landmark of {where}")
        ]
    return [*box, score, *points]


def _numbers(value: object, count: int, where: str) -> list[float]:
    if not isinstance(value, list) or len(value) != count:
        raise InputError(f"{where} must be {count} numbers, not {value!r:.60}")
    numbers = [finite(number, where) for number in value]
    if max(map(abs, numbers)) > _MAX_PIXEL:
        raise InputError(f"{where} lies beyond any picture")
    return numbers


def _same_path(recorded: str, source: Path) -> bool:
    return Path(recorded).resolve() == source.resolve()


def write_findings(
    path: Path, model: ModelInfo | None, policy: Policy, reports: Sequence[MediaDetections]
) -> None:
    """Write what was masked, boxes in source pixels after orientation.

    Args:
        path: The file to write.
        model: What found the faces; None if that is not known.
        policy: What was masked and how.
        reports: Of each file.

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
            "threshold": policy.threshold,
            "size": policy.size,
        },
        "policy": policy.to_json(),
        "media": [_entry(report) for report in reports],
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(findings, indent=1) + "\n", encoding="utf-8")


def _entry(report: MediaDetections) -> dict[str, Any]:
    """A file in JSON, with the hash of its content: the faces are of no other."""
    try:
        sha256 = file_sha256(report.path)
    except OSError as error:
        raise InputError(f"cannot read {report.path} again: {error.strerror}") from error
    entry = report.to_json()
    return {"path": entry.pop("path"), "sha256": sha256, **entry}
