"""Why something cannot be done, in words that mean something on the page and to programs."""

from __future__ import annotations

import re
from typing import Final

from faceblur.errors import exhaustion

_HERE: Final = (
    # Whoever uses the page has chosen no folder for results.
    (re.compile(r",? or write elsewhere\b"), ", then try again"),
    (re.compile(r", or lower --workers\b"), ", then try again"),
    (
        re.compile(r"\bchoose (a folder you may write to|another folder)\b"),
        "start faceblur web with another folder in TMPDIR",
    ),
)


def on_page(sentence: str) -> str:
    """A sentence of the command, without advice that only its user can follow."""
    for advice, here in _HERE:
        sentence = advice.sub(here, sentence)
    return sentence


def not_stored(error: OSError) -> str:
    """Say why an upload cannot be stored."""
    return on_page(f"it cannot be stored: {exhaustion(error) or error.strerror}")
