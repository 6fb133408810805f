"""What somebody wants of a file beside what was found in it: all that a result is made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt

from faceblur.batch.corrections import Correction, FrameTimes
from faceblur.boxes import box_iou
from faceblur.detections import Detections, FrameDetectionsLog, MediaDetections
from faceblur.errors import InputError
from faceblur.masks.style import MaskStyle
from faceblur.schema.conversion import Value, from_json, register, to_json
from faceblur.schema.mistakes import MistakesError, WrongTypeError
from faceblur.web.jobs.looks import Look, Sound

_MOST: Final = 1000
_SAME_IOU: Final = 0.98
"""Of a face as it was found, and in a list of faces."""


@dataclass(frozen=True, kw_only=True)
class Edits:
    """One wish for the result of a file; the same wishes make the same result.

    Attributes:
        kept: Tracks that stay visible where it is certain that it is them.
        corrections: What is covered beside what was found, and what is not.
        look: How masks look; None as the page was started.
        sound: What becomes of the sound.

    Raises:
        InputError: There are more corrections than anybody makes.
    """

    kept: frozenset[int] = frozenset()
    corrections: tuple[Correction, ...] = ()
    look: Look | None = None
    sound: Sound = field(default_factory=Sound)

    def __post_init__(self) -> None:
        """Check how many there are."""
        if sum(max(1, len(each.keyframes)) for each in self.corrections) > _MOST:
            raise InputError(f"there are more than {_MOST} corrections")

    @classmethod
    def read(cls, text: bytes) -> Edits:
        """Read JSON; what it leaves out is as nobody wished anything.

        Raises:
            InputError: It is something else; one sentence.
        """
        return _read(text, cls, "what is wanted")

    def in_style(self, style: MaskStyle) -> Edits:
        """The same without a look that is that of a style: the same wishes are equal.

        Raises:
            InputError: Masks cannot look so with what the page was started with.
        """
        if self.look is None:
            return self
        self.look.style(style)
        return replace(self, look=None) if self.look == Look.of(style) else self

    def check(self, found: MediaDetections, *, chooses: bool, sounds: bool = False) -> None:
        """Compare with the file that it is about.

        Args:
            found: What was found in it.
            chooses: Whether somebody may be chosen to stay visible.
            sounds: Whether there is sound.

        Raises:
            InputError: It is of another file, or unclear; one sentence.
        """
        tracks = {track.id for track in found.tracks}
        if self.kept and not chooses:
            raise InputError("nobody can be chosen in this file")
        if not self.kept <= tracks:
            raise InputError("this video has no such person")
        if self.sound != Sound() and not sounds:
            raise InputError("this file has no sound")
        _check_sound(self.sound, found)
        check_corrections(self.corrections, found)

    def to_json(self) -> dict[str, Any]:
        """What `read` reads."""
        said: dict[str, Any] = {"kept": sorted(self.kept)}
        said["corrections"] = written(self.corrections)
        if self.look is not None:
            said["look"] = to_json(self.look)
        if self.sound != Sound():
            said["sound"] = to_json(self.sound)
        return said


def _check_sound(sound: Sound, found: MediaDetections) -> None:
    last_s = max((found.frames[-1].pts_s for _ in found.frames[-1:]), default=0)
    for span in sound.muted:
        if span.time.start_s > Fraction(last_s) - found.start_s:
            raise InputError(f"the video ends before {span.time}")


@dataclass(frozen=True, kw_only=True)
class _Saved:
    """A file of corrections."""

    corrections: tuple[Correction, ...]


def read_corrections(text: bytes, found: MediaDetections) -> tuple[Correction, ...]:
    """Read a file of corrections, as somebody saved it.

    Raises:
        InputError: It is something else, or of another file; one sentence.
    """
    corrections = _read(text, _Saved, "the file").corrections
    check_corrections(corrections, found)
    return corrections


def written(corrections: tuple[Correction, ...]) -> list[Any]:
    """Corrections in JSON, without what they do not say."""
    return [_said(to_json(each)) for each in corrections]


def check_corrections(corrections: tuple[Correction, ...], found: MediaDetections) -> None:
    """Check that each is of a file in which something was found.

    Raises:
        InputError: One is not; one sentence.
    """
    if not corrections:
        return
    times = times_of(found)
    frames = found.frames
    # A document has pages of any size, and no times.
    is_document = len(frames) > 1 and frames[0].pts_s == frames[-1].pts_s
    tracks = {track.id for track in found.tracks}
    for number, each in enumerate(corrections, start=1):
        name = f"correction {number}"
        try:
            each.check(found.width, found.height, one_size=not is_document)
        except InputError as error:
            raise InputError(f"{name} {error}") from error
        for keyframe in each.keyframes:
            times.index(keyframe.at, name)
        times.end(each.until, name)
        if each.remove is None:
            continue
        if each.remove.at is not None:
            times.index(each.remove.at, name)
        elif each.remove.track not in tracks:
            raise InputError(f"{name} removes track {each.remove.track}, which nobody has found")


def times_of(found: MediaDetections) -> FrameTimes:
    """The frames of a file by their times."""
    # Those of videos are logged; see `MediaDetections`.
    paged = not isinstance(found.frames, FrameDetectionsLog)
    return FrameTimes(range(len(found.frames)), seconds_of(found), paged=paged)


def found_before(masked: Detections, found: Detections) -> npt.NDArray[np.bool_]:
    """Which masks of a page are of faces that were found, (N,); the others were drawn."""
    # Lists are written to a hundredth of a pixel.
    return np.asarray(box_iou(masked.boxes, found.boxes).max(axis=1, initial=0) > _SAME_IOU)


def seconds_of(found: MediaDetections, *, from_start: bool = True) -> Sequence[Fraction]:
    """When each frame of a file is shown, from its start or as its clock counts."""
    return _Seconds(found, found.start_s if from_start else Fraction(0))


def _read(text: bytes, kind: type[Value], where: str) -> Value:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON: open one that was saved here") from error
    try:
        return from_json(value, kind, where)
    except MistakesError as error:
        raise InputError(error.mistakes[0].sentence(where)) from error


def _said(value: Any) -> Any:
    """A value without what is null, false or empty."""
    if isinstance(value, dict):
        said = {name: _said(each) for name, each in value.items()}
        return {name: each for name, each in said.items() if not _says_nothing(each)}
    if isinstance(value, list):
        return [_said(each) for each in value]
    return value


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or value == []


class _Seconds(Sequence[Fraction]):
    """When each frame is shown; made when it is asked for."""

    def __init__(self, found: MediaDetections, start_s: Fraction) -> None:
        self._found = found
        self._start_s = start_s

    def __len__(self) -> int:
        return len(self._found.frames)

    @overload
    def __getitem__(self, index: int) -> Fraction: ...

    @overload
    def __getitem__(self, index: slice) -> list[Fraction]: ...

    def __getitem__(self, index: int | slice) -> Fraction | list[Fraction]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        frames = self._found.frames
        if isinstance(frames, FrameDetectionsLog):
            return frames.time(index) - self._start_s
        return Fraction(frames[index].pts_s) - self._start_s


def _tracks(value: object) -> frozenset[int]:
    if not isinstance(value, list | frozenset) or not all(type(each) is int for each in value):
        raise WrongTypeError("a list of tracks such as [3, 7]", value)
    return frozenset(value)


register(frozenset[int], read=_tracks, write=sorted)
