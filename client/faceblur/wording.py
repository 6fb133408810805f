"""Text from outside, such as the name of a file, made fit for a terminal and for a log."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_LONGEST_NAME: Final = 80
_KEPT: Final = (44, 28)
"""Characters of the beginning and the end of a longer name."""

_LONG_NAMES: Final = re.compile(rf"[^/\s]{{{_LONGEST_NAME + 1},}}")
_HIDDEN: Final = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Categories of characters that a terminal obeys or does not show: controls, marks that turn the
direction of writing, bytes in no known encoding, ends of lines."""


def printable(text: object, *, lines: bool = False) -> str:
    r"""Escape what would not be shown as it is, and shorten names of more than 80 characters.

    Args:
        text: Anything; what `str` makes of it is taken.
        lines: Leave the ends of lines as they are; else they become \n.
    """
    shown = "".join(_shown(character, lines=lines) for character in str(text))
    return _LONG_NAMES.sub(lambda match: _shortened(match[0]), shown)


def _shown(character: str, *, lines: bool) -> str:
    if character.isprintable() or (lines and character == "\n"):
        return character
    hidden = unicodedata.category(character) in _HIDDEN
    return character.encode("unicode_escape").decode() if hidden else character


def _shortened(name: str) -> str:
    first, last = _KEPT
    return f"{name[:first]}…{name[-last:]}"


def names(items: list[str], *, most: int = 5) -> str:
    """A list of names for a sentence, cut short where it is long."""
    shown = ", ".join(printable(item) for item in items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown
