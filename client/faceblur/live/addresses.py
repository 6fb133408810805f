"""Parts of addresses that sources and sinks have in common."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from faceblur.errors import InputError
from faceblur.redaction import redact_address
from faceblur.schema.conversion import register
from faceblur.schema.mistakes import WrongTypeError

Size = tuple[int, int]
"""Width and height, pixels."""

PORTS: Final = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
_TRUE = ("1", "yes", "true", "on")
_FALSE = ("0", "no", "false", "off")


def parse_address(text: str) -> SplitResult:
    """The parts of `scheme://host:port/path`.

    Raises:
        InputError: It has no host, or a port that cannot be one.
    """
    try:
        parts = urlsplit(text)
        # Only asking for the port checks it.
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if is_whole:
        return parts
    raise InputError(
        f"{redact_address(text)} is no address; write it like rtsp://HOST:PORT/PATH, and what is "
        "odd in a password as %XX"
    )


def split_query(text: str, what: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Split `path?name=value&…`.

    Raises:
        InputError: A setting has no value, or is not known.
    """
    path, _, query = text.partition("?")
    try:
        settings = dict(parse_qsl(query, strict_parsing=True)) if query else {}
    except ValueError:
        raise InputError(f"the settings of {what} are written name=value&name=value") from None
    if unknown := sorted(settings.keys() - known):
        listed = ", ".join(sorted(known))
        raise InputError(f"{what} has no setting {unknown[0]!r}; it knows {listed}")
    return path, settings


def to_number(text: str, name: str, what: str) -> float:
    """A positive number.

    Raises:
        InputError: It is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise InputError(f"{name}={text} is invalid for {what}; give a number above 0")
    return number


def to_flag(text: str, name: str, what: str) -> bool:
    """Yes or no.

    Raises:
        InputError: It is neither.
    """
    if text.lower() not in _TRUE + _FALSE:
        raise InputError(f"{name}={text} is invalid for {what}; give yes or no")
    return text.lower() in _TRUE


def to_size(text: str, what: str) -> Size:
    """Width and height, both even, from `640x360`.

    Raises:
        InputError: It is not a size.
    """
    match = re.fullmatch(r"(\d{2,5})[x×](\d{2,5})", text)
    if match is None:
        raise InputError(f"size={text} is invalid for {what}; write it like 640x360")
    width, height = (int(side) & ~1 for side in match.groups())
    if not (16 <= width <= 7680 and 16 <= height <= 7680):
        raise InputError(f"size={text} is invalid for {what}; use 16 to 7680 pixels")
    return width, height


def split_address(text: str) -> tuple[str, int]:
    """Host and port of something to listen on.

    Raises:
        InputError: It is something else.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise InputError(f"{text!r} is no address to listen on; give HOST:PORT")
    return host.strip("[]"), int(port)


def _size(value: object) -> Size:
    if not isinstance(value, str):
        raise WrongTypeError("a size such as 640x360", value)
    return to_size(value, "a source")


register(Size, read=_size)
