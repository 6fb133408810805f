"""Corrections in a list of faces: what is masked beside it, for a while, and what is not."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

import numpy as np

from faceblur.boxes import box_iou, box_overlap
from faceblur.detections import Float64Array
from faceblur.errors import InputError
from faceblur.schema.conversion import register
from faceblur.schema.mistakes import WrongTypeError
from faceblur.times import clock, parse_time

Box = tuple[float, float, float, float]

_MAX_PIXEL: Final = 1e6
_MAX_TIME_S: Final = 1e9
_SMALLEST: Final = 2
"""Pixels: boxes given as shares of the frame are smaller, and would mask next to nothing."""
_ALIKE: Final = 0.8
"""Intersection over union of two boxes that are nearly the same."""
_EXAMPLE: Final = "seconds such as 62.5, or 1:02.5"


@dataclass(frozen=True, order=True)
class Moment:
    """A time from the start of the video, as with --hide.

    Attributes:
        seconds: Exactly.
    """

    seconds: Fraction

    def __str__(self) -> str:
        """The time as people write it."""
        return clock(self.seconds)


@dataclass(frozen=True)
class Keyframe:
    """Where something is at one time.

    Attributes:
        at: The frame that is shown then is meant.
        box: Left, top, right and bottom in pixels of the upright frame.
        follow: From here on it is followed through the image's motion, until the next keyframe, a
            cut, or the end. Without it, it is carried straight to the next keyframe.

    Raises:
        InputError: The box is empty, or far outside any image.
    """

    at: Moment
    box: Box
    follow: bool = False

    def __post_init__(self) -> None:
        """Check the box."""
        x0, y0, x1, y1 = self.box
        if x1 <= x0 or y1 <= y0:
            raise InputError("the box ends before it starts; give left, top, right and bottom")
        if max(map(abs, self.box)) > _MAX_PIXEL:
            raise InputError("the box lies beyond any image")


@dataclass(frozen=True)
class Removal:
    """A face that is none: all of its track is left unmasked, where that is surely one.

    Attributes:
        track: Its number; None for the one whose box at a time is that of a keyframe.
        at: The time, with `box`.
        box: Its box at that time, or about.

    """

    track: int | None = None
    at: Moment | None = None
    box: Box | None = None


@dataclass(frozen=True)
class Correction:
    """One thing that is masked beside the list of faces, or a face of it that is removed.

    Attributes:
        keyframes: In order of time, at least one; empty for a removal.
        until: Nothing is masked for it from here on; None for no end.
        remove: What is not masked.

    """

    keyframes: tuple[Keyframe, ...] = ()
    until: Moment | None = None
    remove: Removal | None = None

    def check(self, width: int, height: int) -> None:
        """Check that it says one thing, in order, of a video of this size, pixels.

        Raises:
            InputError: It says several, or none; what follows the name of the correction.
        """
        if bool(self.keyframes) == (self.remove is not None):
            raise InputError("needs keyframes, or remove, and not both")
        if self.remove is not None:
            shown = [each is not None for each in (self.remove.at, self.remove.box)]
            if any(shown) != all(shown) or any(shown) == (self.remove.track is not None):
                raise InputError("removes nothing: give a track, or a time and a box (at, box)")
        for before, after in pairwise(self.keyframes):
            if after.at <= before.at:
                raise InputError(
                    f"has a keyframe at {after.at} after the one at {before.at}; put them in order "
                    "of time, each once"
                )
        boxes = [each.box for each in self.keyframes]
        if any(min(x1 - x0, y1 - y0) < _SMALLEST for x0, y0, x1, y1 in boxes):
            raise InputError(
                f"has a box of less than {_SMALLEST} pixels: give left, top, right and bottom in "
                f"pixels of the upright frame of {width}×{height}"
            )
        if boxes and not any(
            x0 < width and y0 < height and x1 > 0 and y1 > 0 for x0, y0, x1, y1 in boxes
        ):
            raise InputError(
                f"masks nothing: no box touches the upright frame of {width}×{height} pixels"
            )
        if self.until is not None and (not self.keyframes or self.until <= self.keyframes[-1].at):
            raise InputError("ends before its last keyframe; until must be later")


class FrameTimes:
    """The frames of a video by their times.

    Args:
        indices: Of the frames, rising.
        times: When each is shown, seconds from the start of the video.
    """

    def __init__(self, indices: Sequence[int], times: Sequence[Fraction]) -> None:
        self._indices, self._times = indices, times

    def index(self, seconds: Fraction, what: str) -> int:
        """The frame that is shown at a time.

        Raises:
            InputError: None is; `what` says what is to be there.
        """
        # Times are written to a millionth.
        at = bisect_right(self._times, seconds + Fraction(1, 10**6)) - 1
        last = self._times[-1] if self._times else Fraction(0)
        lasts = self._times[-1] - self._times[-2] if len(self._times) > 1 else Fraction(1)
        if at < 0 or seconds >= last + max(lasts, Fraction(1, 100)):
            first = self._times[0] if self._times else Fraction(0)
            raise InputError(
                f"{what} is at {clock(seconds)}, but the video lasts from "
                f"{clock(round(first, 3))} to {clock(round(last + lasts, 3))}"
            )
        return self._indices[at]

    def end(self, seconds: Fraction | None) -> int | None:
        """The first frame that is not shown before a time; None for no end."""
        if seconds is None:
            return None
        at = bisect_right(self._times, seconds - Fraction(1, 10**6))
        return self._indices[at] if at < len(self._times) else None


def meant_face(faces: Float64Array, box: Box) -> int:
    """The index of the one face of a frame whose box, (N, 4) of all, is meant.

    Raises:
        InputError: There is none, or more than one; what follows the name of the correction.
    """
    touched = np.flatnonzero(box_overlap(faces, box)[0][:, 0] > 0)
    if not len(touched):
        raise InputError("removes a face where the list has none; give the box of the face")
    if len(touched) > 1:
        alike = touched[box_iou(faces[touched], box)[:, 0] >= _ALIKE]
        if len(alike) != 1:
            raise InputError(
                f"removes a face where the list has {len(touched)}; give the very box of that one, "
                'or name its track, such as "remove": {"track": 7}'
            )
        touched = alike
    return int(touched[0])


def _moment(value: object) -> Moment:
    if isinstance(value, Moment):
        return value
    seconds = parse_time(value) if isinstance(value, str) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MAX_TIME_S:
        seconds = Fraction(repr(value))
    if seconds is None:
        raise WrongTypeError(_EXAMPLE, value)
    return Moment(seconds)


register(Moment, read=_moment, write=str)
