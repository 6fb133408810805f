"""Addresses of SRT, for the `ffmpeg` program: all users of a machine can read its arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus

from faceblur.errors import InputError
from faceblur.redaction import redact_address

_SECRETS: Final = {"passphrase": "passphrase", "streamid": "streamid", "srt_streamid": "streamid"}
"""Parameters that do not belong on a command line, and the options of FFmpeg for them; the name of
a stream may hold a user and a password."""

_OPEN: Final = ("pbkeylen",)
"""A length, whose name speaks of a key."""


@dataclass(frozen=True)
class SrtAddress:
    """An address, apart from what nobody else may know.

    Attributes:
        open: The rest of it, which anybody may read.
        secrets: Options of FFmpeg, in plain text.
    """

    open: str
    secrets: dict[str, str] = field(repr=False)


def split_srt(url: str) -> SrtAddress:
    """Take the secrets out of an address.

    What is percent-encoded in them is decoded, which FFmpeg itself does not do.

    Raises:
        InputError: One of them holds the end of a line or the like.
    """
    place, _, query = url.partition("?")
    scheme, _, rest = place.partition("://")
    rest = rest.rpartition("@")[2]  # FFmpeg sends no user.
    secrets, others = {}, []
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        if name not in _SECRETS:
            is_open = name in _OPEN or redact_address(f"?{part}") == f"?{part}"
            # FFmpeg knows no other that is secret, and takes nothing of what it does not know.
            others += [part] if is_open else []
            continue
        text = unquote_plus(value)
        if text:
            secrets[_SECRETS[name]] = text
        if not text.isprintable():
            raise InputError(f"the {name} of {redact_address(url)} holds what is no text")
    return SrtAddress("?".join(filter(None, (f"{scheme}://{rest}", "&".join(others)))), secrets)


def as_preset(address: SrtAddress) -> bytes:
    """The secrets as a file for `-fpre`: options of an output."""
    return "".join(f"{name}={value}\n" for name, value in address.secrets.items()).encode()


def as_playlist(address: SrtAddress, **options: int) -> bytes:
    """The address as a file for the input format `concat`, which opens it with the secrets.

    Args:
        address: What to read.
        options: Of FFmpeg, to read it.
    """
    known = {**address.secrets, **{name: str(value) for name, value in options.items()}}
    lines = [f"option {name} {_quoted(value)}" for name, value in known.items()]
    return "\n".join(["ffconcat version 1.0", f"file {_quoted(address.open)}", *lines, ""]).encode()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", r"'\''") + "'"
