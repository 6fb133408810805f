"""Corrections in a list of faces: what is masked beside it, for a while, and what is not."""

from __future__ import annotations

import re
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
ALIKE: Final = 0.8
"""Intersection over union of two boxes that are nearly the same."""
_EXAMPLE: Final = 'seconds such as 62.5, or 1:02.5, or a page such as "page 3"'
_PAGE: Final = re.compile(r"page ?([1-9][0-9]{0,8})", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Moment:
    """A time from the start, as with --hide, or a page of an image that has several.

    Attributes:
        seconds: Exactly; 0 for a page.
        page: From 1 on; 0 for a time.
    """

    seconds: Fraction = Fraction(0)
    page: int = 0

    @classmethod
    def parse(cls, text: str) -> Moment | None:
        """Read a time, or a page such as "page 3"; None if it is something else."""
        if page := _PAGE.fullmatch(text):
            return cls(page=int(page[1]))
        seconds = parse_time(text)
        return None if seconds is None else cls(seconds)

    def __str__(self) -> str:
        """The moment as people write it."""
        return f"page {self.page}" if self.page else clock(self.seconds)


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
    """A face that is none.

    In a video all of its track is left unmasked, where that is surely one; in an image, which has
    no tracks, that one box.

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
        until: Nothing is masked for it from here on; None for no end. With a box that is removed
            from an image of several pages, it is removed up to there.
        remove: What is not masked.

    """

    keyframes: tuple[Keyframe, ...] = ()
    until: Moment | None = None
    remove: Removal | None = None

    def check(self, width: int, height: int, *, one_size: bool = True) -> None:
        """Check that it says one thing, in order, of a video of this size, pixels.

        With `one_size` false, that is the size of the first page, and others may be larger.

        Raises:
            InputError: It says several, or none; what follows the name of the correction.
        """
        if bool(self.keyframes) == (self.remove is not None):
            raise InputError("needs keyframes, or remove, and not both")
        if self.remove is not None:
            shown = [each is not None for each in (self.remove.at, self.remove.box)]
            if any(shown) != all(shown) or any(shown) == (self.remove.track is not None):
                raise InputError("removes nothing: give a track, or a time and a box (at, box)")
        self._check_moments()
        boxes = [each.box for each in self.keyframes]
        if any(min(x1 - x0, y1 - y0) < _SMALLEST for x0, y0, x1, y1 in boxes):
            raise InputError(
                f"has a box of less than {_SMALLEST} pixels: give left, top, right and bottom in "
                f"pixels of the upright frame of {width}×{height}"
            )
        if (
            one_size
            and boxes
            and not any(
                x0 < width and y0 < height and x1 > 0 and y1 > 0 for x0, y0, x1, y1 in boxes
            )
        ):
            raise InputError(
                f"masks nothing: no box touches the upright frame of {width}×{height} pixels"
            )

    def _check_moments(self) -> None:
        removed_at = None if self.remove is None else self.remove.at
        moments = [*(each.at for each in self.keyframes), removed_at, self.until]
        if len({bool(each.page) for each in moments if each is not None}) > 1:
            raise InputError("names both times and pages; give one of them throughout")
        for before, after in pairwise(self.keyframes):
            if after.at <= before.at:
                raise InputError(
                    f"has a keyframe at {after.at} after the one at {before.at}; put them in order "
                    "of time, each once"
                )
        if self.until is None:
            return
        if self.remove is not None:
            if self.remove.at is None:
                raise InputError("removes a track, which has an end of its own; leave until out")
            if self.until <= self.remove.at:
                raise InputError("is removed until before it begins; until must be later than at")
        elif self.until <= self.keyframes[-1].at:
            raise InputError("ends before its last keyframe; until must be later")


class FrameTimes:
    """The frames of a video, or the pages of an image, by their times or numbers.

    Args:
        indices: Of the frames, rising.
        times: When each is shown, seconds from the start.
        paged: Whether it is an image.
    """

    def __init__(
        self, indices: Sequence[int], times: Sequence[Fraction], *, paged: bool = False
    ) -> None:
        self._indices, self._times, self._paged = indices, times, paged

    @property
    def are_times(self) -> bool:
        """Whether the times tell the frames from each other; those of a document do not."""
        return not self._paged or has_times(self._times)

    def index(self, at: Moment, what: str) -> int:
        """The frame that is shown at a time, or is a page.

        Raises:
            InputError: None is; `what` says what is to be there.
        """
        count = len(self._indices)
        if at.page:
            if not self._paged:
                raise InputError(f"{what} is on {at}, but a video has no pages: give a time")
            if at.page > count:
                has = "one" if count == 1 else f"{count}"
                raise InputError(f"{what} is on {at}, but there is no more than {has}")
            return self._indices[at.page - 1]
        if count > 1 and self._times[0] == self._times[-1]:
            raise InputError(
                f'{what} is at {at}, but the pages have no times: give a page such as "page 2"'
            )
        # Times are written to a millionth.
        place = bisect_right(self._times, at.seconds + Fraction(1, 10**6)) - 1
        last = self._times[-1] if self._times else Fraction(0)
        lasts = self._times[-1] - self._times[-2] if count > 1 else Fraction(1)
        if place < 0 or at.seconds >= last + max(lasts, Fraction(1, 100)):
            first = self._times[0] if self._times else Fraction(0)
            raise InputError(
                f"{what} is at {at}, but the {'image' if self._paged else 'video'} lasts from "
                f"{clock(round(first, 3))} to {clock(round(last + lasts, 3))}"
            )
        return self._indices[place]

    def end(self, until: Moment | None, what: str) -> int | None:
        """The first frame that is not shown before a moment; None for no end.

        Raises:
            InputError: That tells no frame; `what` says what ends.
        """
        if until is None:
            return None
        if until.page and not self._paged:
            raise InputError(f"{what} ends at {until}, but a video has no pages: give a time")
        if not until.page and not self.are_times:
            raise InputError(f'{what} ends at {until}: give a page such as "page 2"')
        place = until.page - 1
        if not until.page:
            place = bisect_right(self._times, until.seconds - Fraction(1, 10**6))
        return self._indices[place] if place < len(self._indices) else None


def has_times(times: Sequence[Fraction]) -> bool:
    """Whether each frame of an image has a time of its own."""
    return all(after - before > Fraction(2, 10**6) for before, after in pairwise(times))


def meant_face(faces: Float64Array, box: Box) -> int:
    """The index of the one face of a frame whose box, (N, 4) of all, is meant.

    Raises:
        InputError: There is none, or more than one; what follows the name of the correction.
    """
    touched = np.flatnonzero(box_overlap(faces, box)[0][:, 0] > 0)
    if not len(touched):
        raise InputError("removes a face where the list has none; give the box of the face")
    if len(touched) > 1:
        alike = touched[box_iou(faces[touched], box)[:, 0] >= ALIKE]
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
    moment = Moment.parse(value) if isinstance(value, str) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MAX_TIME_S:
        moment = Moment(Fraction(repr(value)))
    if moment is None:
        raise WrongTypeError(_EXAMPLE, value)
    return moment


register(Moment, read=_moment, write=str)
