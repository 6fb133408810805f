"""Make text fit to be shown: without secrets, and without characters that a terminal obeys.

Addresses carry passwords and stream keys.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

HIDDEN: Final = "***"
"""What stands in the place of a secret."""

_URL: Final = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"<>]*[^\s'\"<>:;,.)]")
_USER_INFO: Final = re.compile(r"://.*@")
_CONTAINER: Final = re.compile(r"^(?:abfs|wasb)s?://[^:@/]+@[^@]*$", re.I)
_STREAM_KEY: Final = re.compile(r"^(rtmp[a-z]*://[^/]+/[^/?]+/)[^?]+")
_QUERY: Final = re.compile(r"([?&;])([^=&;#]+)=([^&;#]+)")
_STREAM_ID: Final = re.compile(r"([?&](?:srt_)?streamid=)[^&]+", re.I)
"""Of SRT: it may hold a user and a password, and characters that end a parameter elsewhere."""
_SECRET_NAME: Final = re.compile(
    r"pass|pwd|psw|token|key|secret|auth|sig|jwt|streamid|user|login|account|credential", re.I
)

_SHOWN: Final[dict[str, str]] = {}
"""Paths, and what people know these files as."""

_LONGEST_NAME: Final = 80

_FIRST, _LAST = 44, 28
"""Characters of the beginning and the end of a longer name."""

_LONG_NAMES: Final = re.compile(rf"[^/\s]{{{_LONGEST_NAME + 1},}}")

_UNSHOWN: Final = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Categories of characters that a terminal obeys or does not show: controls, marks that turn the
direction of writing, bytes in no known encoding, ends of lines."""


def redact(text: str) -> str:
    """Hide the credentials in every address of a text.

    Hidden are user and password before the host, the values of query parameters whose names
    speak of secrets, and the last part of RTMP addresses, which is a stream key. Files that are
    known by another name are called so: see `shown_as`.
    """
    return _URL.sub(lambda match: redact_address(match.group()), renamed(text))


@contextmanager
def shown_as(names: Mapping[str, str]) -> Iterator[None]:
    """Call files otherwise than their paths in texts for people while the block runs."""
    _SHOWN.update(names)
    try:
        yield
    finally:
        for path in names:
            _SHOWN.pop(path, None)


def renamed(text: str) -> str:
    """A text with the names that files are shown as."""
    for path, name in tuple(_SHOWN.items()):
        text = text.replace(path, name)
    return text


def redact_address(url: str) -> str:
    """Hide the credentials of what is one address from its beginning to its end.

    In a longer text a password that holds a space or a quotation mark ends an address too early.
    """
    # Up to the last @: a password may hold an unescaped one. Azure has a container there.
    if not _CONTAINER.match(url):
        url = _USER_INFO.sub(f"://{HIDDEN}@", url)
    url = _STREAM_KEY.sub(rf"\g<1>{HIDDEN}", url)
    url = _STREAM_ID.sub(rf"\g<1>{HIDDEN}", url)
    return _QUERY.sub(_redact_parameter, url)


def holds_secret(address: str) -> bool:
    """Whether an address has a password or a key that is no reference such as `${DOOR}`."""
    user_info = _USER_INFO.search(address)
    password = "" if user_info is None else user_info.group()[3:-1].partition(":")[2]
    texts = [match[3] for match in _QUERY.finditer(address) if _SECRET_NAME.search(match[2])]
    return any(text and "${" not in text for text in (password, *texts))


def _redact_parameter(match: re.Match[str]) -> str:
    mark, name, value = match.groups()
    return f"{mark}{name}={HIDDEN if _SECRET_NAME.search(name) else value}"


class RedactingFilter(logging.Filter):
    """Redacts whatever is logged, arguments and tracebacks included; add it to every handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite a record; none is dropped."""
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True


def printable(text: object, *, lines: bool = False) -> str:
    r"""Escape what would not be shown as it is, and shorten names of more than 80 characters.

    Args:
        text: Anything; what `str` makes of it is taken.
        lines: Leave the ends of lines as they are; else they become \n.
    """
    shown = "".join(_escape(character, lines=lines) for character in str(text))
    return _LONG_NAMES.sub(lambda match: f"{match[0][:_FIRST]}…{match[0][-_LAST:]}", shown)


def _escape(character: str, *, lines: bool) -> str:
    if character.isprintable() or (lines and character == "\n"):
        return character
    escaped = unicodedata.category(character) in _UNSHOWN
    return character.encode("unicode_escape").decode() if escaped else character


def names(items: list[str], *, most: int = 5) -> str:
    """A list of names for a sentence, cut short where it is long."""
    shown = ", ".join(printable(item) for item in items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown
