"""What is wrong with a value, where in it, and how that is told to a person."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from faceblur.errors import InputError

_SHOWN: Final = 20
"""Mistakes that are told of one value, at most."""


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with a value.

    Attributes:
        path: Where, from the whole value down: names and indices.
        text: What: a sentence, or what follows the name of the place.
        kind: "form" (a `FormError`), "lacks", "unknown" (a setting that does not exist) or
            "range" (what the class itself refuses).
    """

    path: tuple[str | int, ...]
    text: str
    kind: Literal["form", "lacks", "unknown", "range"] = "range"

    def sentence(self, where: str) -> str:
        """The mistake for a person who calls the whole value `where`."""
        if self.kind in ("lacks", "unknown"):
            return f"{_section(self.path[:-1], where)} {self.text}"
        if not self.path:
            return f"{where}{':' * (self.kind == 'range')} {self.text}"
        *outer, last = self.path
        place = _section(self.path, where)
        if isinstance(last, str):
            place = f"{last} in {_section(tuple(outer), where)}"
        return f"{place}{':' * (self.kind == 'range')} {self.text}"


class FormError(InputError):
    """A value that cannot be there; the message is what follows the name of its place."""


class WrongTypeError(FormError):
    """A value of another type than was wanted."""

    def __init__(self, wanted: str, value: object) -> None:
        super().__init__(f"must be {wanted}, not {shown(value)}")


class MistakesError(InputError):
    """All that is wrong with a value; the message has a line for each mistake.

    Attributes:
        mistakes: At least one.
    """

    def __init__(self, mistakes: Iterable[Mistake], where: str | None = None) -> None:
        self.mistakes = tuple(mistakes)
        self.several_lines = len(self.mistakes) > 1
        if where is not None:
            super().__init__(listed(where, [each.sentence(where) for each in self.mistakes]))


def listed(where: str, sentences: list[str]) -> str:
    """Sentences as one message: a line each below a heading if there are several."""
    if len(sentences) < 2:
        return "".join(sentences)
    more = len(sentences) - _SHOWN
    rest = [f"and {more} more"] if more > 0 else []
    return "\n".join([f"{where} has {len(sentences)} mistakes:", *sentences[:_SHOWN], *rest])


def nearest(name: str, known: Iterable[str]) -> str:
    """What to advise about a name that is not among the known ones."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "check how it is spelt"


def shown(value: object) -> str:
    """A value for error messages; never all of a long one."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _section(path: tuple[str | int, ...], where: str) -> str:
    """What to call a part of a value that has parts itself."""
    if not path:
        return where
    *outer, last = path
    if isinstance(last, str):
        return f"the {last} of {_section(tuple(outer), where)}"
    indices = f"[{last}]"
    while outer and isinstance(outer[-1], int):
        indices = f"[{outer.pop()}]{indices}"
    if not outer:
        return f"{where}{indices}"
    return f"{outer.pop()}{indices} in {_section(tuple(outer), where)}"


def located(error: InputError, *path: str | int) -> list[Mistake]:
    """The mistakes of a part of a value, by their path from the whole."""
    if isinstance(error, MistakesError):
        return [dataclasses.replace(each, path=(*path, *each.path)) for each in error.mistakes]
    return [Mistake(path, str(error), "form" if isinstance(error, FormError) else "range")]
