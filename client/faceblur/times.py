"""Times of a video, as people write them and as they are counted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from faceblur.errors import InputError
from faceblur.schema.conversion import register
from faceblur.schema.mistakes import WrongTypeError

_TIME: Final = re.compile(r"(?:(?:([0-9]{1,9}):)?([0-9]{1,9}):)?([0-9]{1,15}(?:\.[0-9]{1,30})?)")
_EXACT: Final = re.compile(r"-?[0-9]{1,60}(/[0-9]{1,60}|(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,3})?)")
_EXAMPLE: Final = "give start and end such as 0:05-0:10.5, or 1:00- for the rest"


@dataclass(frozen=True)
class TimeSpan:
    """From a time on, and up to but not including another.

    Attributes:
        start_s: Seconds from the start of the video, exactly.
        end_s: The same; None if there is no end.

    Raises:
        InputError: It ends before it starts.
    """

    start_s: Fraction
    end_s: Fraction | None = None

    def __post_init__(self) -> None:
        """Check the order."""
        if self.end_s is not None and self.end_s <= self.start_s:
            raise InputError(f"the time span {self} ends before it starts; {_EXAMPLE}")

    @classmethod
    def parse(cls, text: str) -> TimeSpan:
        """Read `START-END` or `START-`; each is `SECONDS`, `M:SS` or `H:MM:SS`, with decimals.

        Raises:
            InputError: It is something else.
        """
        start, dash, end = text.replace(" ", "").partition("-")
        if not dash:
            raise InputError(f"{text!r} is no time span: {_EXAMPLE}")
        return cls(_seconds(start, text), _seconds(end, text) if end else None)

    def __str__(self) -> str:
        """The span as `parse` reads it."""
        return f"{clock(self.start_s)}-{'' if self.end_s is None else clock(self.end_s)}"

    def overlaps(self, other: TimeSpan) -> bool:
        """Whether there is a time that is in both."""
        starts_in_time = self.end_s is None or other.start_s < self.end_s
        return starts_in_time and (other.end_s is None or self.start_s < other.end_s)

    def contains(self, other: TimeSpan) -> bool:
        """Whether all of another span is in this one."""
        if other.start_s < self.start_s:
            return False
        return self.end_s is None or (other.end_s is not None and other.end_s <= self.end_s)


def parse_time(text: str) -> Fraction | None:
    """Read `SECONDS`, `M:SS` or `H:MM:SS`, with decimals; None if it is something else."""
    found = _TIME.fullmatch(text.replace(" ", ""))
    if found is None:
        return None
    hours, minutes, seconds = found.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + Fraction(seconds)


def _seconds(text: str, whole: str) -> Fraction:
    seconds = parse_time(text)
    if seconds is None:
        raise InputError(f"{whole!r} is no time span: {_EXAMPLE}")
    return seconds


def clock(seconds: Fraction) -> str:
    """A time as `parse_time` reads it, to the microsecond."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{float(rest):09.6f}".rstrip("0").rstrip(".")
    return f"{hours}:{minutes:02}:{text}" if hours else f"{minutes}:{text}"


def _number(seconds: Fraction) -> float | str:
    number = float(seconds)
    return number if Fraction(repr(number)) == seconds else str(seconds)


def _fraction(value: object) -> Fraction:
    # What would take forever to work out, and what no floating-point number holds, is no time.
    try:
        if isinstance(value, float) or type(value) is int or _is_exact(value):
            seconds = Fraction(str(value))
            float(seconds)
            return seconds
    except (ValueError, ZeroDivisionError, OverflowError):
        pass
    raise WrongTypeError("a number of seconds", value)


def _is_exact(value: object) -> bool:
    return isinstance(value, str) and _EXACT.fullmatch(value) is not None


# A fraction is a text where a number would round it.
register(Fraction, read=_fraction, write=_number)
