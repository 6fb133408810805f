"""Parts of the image that are always masked, or in which faces are left alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from faceblur.errors import InputError
from faceblur.masks.polygons import Polygon
from faceblur.schema.conversion import register
from faceblur.schema.mistakes import WrongTypeError
from faceblur.schema.values import finite
from faceblur.times import TimeSpan

Kind = Literal["always", "never"]
MAX_CORNERS = 1000
_MAX_LENGTH = 1e6
_LENGTH = re.compile(r"([+-]?\d+(?:\.\d+)?)(px|%|)")
_EXAMPLE = 'give corners such as "0,0 200,0 200,100" in pixels, or "10%,0% ..." of the image'
_DIGITS = 6
"""Decimals of a pixel that count: 10 % of 1920 is 192, not a little more."""


@dataclass(frozen=True)
class Length:
    """A distance from the left or the upper edge of the image.

    Attributes:
        relative: It is in per cent of the image's width or height, not in pixels.
    """

    value: float
    relative: bool = False

    def __post_init__(self) -> None:
        """Check that it is a number.

        Raises:
            InputError: It is not finite, or beyond any image.
        """
        if not abs(self.value) <= _MAX_LENGTH:
            raise InputError(f"a zone cannot have a corner at {self.value:g}: {_EXAMPLE}")

    @classmethod
    def parse(cls, text: str) -> Length:
        """Read `200`, `200px` or `10%`.

        Raises:
            InputError: It is something else.
        """
        found = _LENGTH.fullmatch(text.strip())
        if found is None:
            raise InputError(f"{text!r} is no place in an image: {_EXAMPLE}")
        return cls(float(found[1]), found[2] == "%")

    def __str__(self) -> str:
        """The length as `parse` reads it."""
        text = np.format_float_positional(self.value, trim="-")
        return f"{text}%" if self.relative else text

    def pixels(self, side: int) -> float:
        """The length in an image that is so many pixels wide, or high."""
        return self.value * side / 100 if self.relative else self.value


Corner = tuple[Length, Length]


@dataclass(frozen=True)
class Zone:
    """A polygon in the upright image.

    Attributes:
        kind: "always" (masked whatever is there) or "never" (faces that lie wholly in it are
            left alone). Where zones overlap, "always" counts.
        corners: x and y of three or more, in order, clockwise or not.
        time: When it holds in a video; None for all the time, and in still images.

    Raises:
        InputError: It is not an area.
    """

    kind: Kind
    corners: tuple[Corner, ...]
    time: TimeSpan | None = None

    def __post_init__(self) -> None:
        """Check that it is an area."""
        if self.kind not in get_args(Kind):
            raise InputError(f"a zone can be always or never, not {self.kind!r}")
        if not 3 <= len(self.corners) <= MAX_CORNERS:
            raise InputError(
                f"a zone has 3 to {MAX_CORNERS} corners, not {len(self.corners)}: {_EXAMPLE}"
            )
        # Where pixels and per cent are mixed, it depends on the image.
        uniform = all(len({corner[i].relative for corner in self.corners}) == 1 for i in (0, 1))
        if uniform and _is_line(np.array([[length.value for length in c] for c in self.corners])):
            raise InputError(f"the corners of the zone {self} lie on one line: {_EXAMPLE}")

    @classmethod
    def parse(cls, kind: Kind, text: str) -> Zone:
        """Read `X,Y X,Y X,Y ... [@ START-END]`.

        Raises:
            InputError: It is something else.
        """
        places, at, time = text.partition("@")
        corners = []
        for place in places.split():
            x, comma, y = place.partition(",")
            if not comma:
                raise InputError(f"{place!r} is no corner of a zone: {_EXAMPLE}")
            corners.append((Length.parse(x), Length.parse(y)))
        return cls(kind, tuple(corners), TimeSpan.parse(time) if at else None)

    def __str__(self) -> str:
        """The zone as `parse` reads it."""
        corners = " ".join(f"{x},{y}" for x, y in self.corners)
        return corners if self.time is None else f"{corners} @ {self.time}"

    def polygon(self, width: int, height: int) -> Polygon:
        """The corners in pixels of an image of this size; they may lie outside it."""
        corners = [(x.pixels(width), y.pixels(height)) for x, y in self.corners]
        return np.array(corners, np.float64).round(_DIGITS)


def _is_line(corners: Polygon) -> bool:
    moved = corners - corners[0]
    scale = np.abs(moved).max(axis=0)
    if not scale.all():
        return True
    spread: npt.NDArray[np.float64] = np.linalg.svd(moved / scale, compute_uv=False)
    return bool(spread[1] < 1e-9)


def _number(length: Length) -> float | str:
    return str(length) if length.relative else length.value


def _corner(value: object) -> Corner:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise WrongTypeError("two places, x and y", value)
    x, y = (_length(each) for each in value)
    return x, y


def _length(value: object) -> Length:
    if isinstance(value, Length):
        return value
    return Length.parse(value) if isinstance(value, str) else Length(finite(value))


# Pixels are numbers, per cent are texts such as "10%".
register(Corner, read=_corner, write=lambda corner: [_number(each) for each in corner])
