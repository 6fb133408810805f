"""Secrets in a configuration: named there, kept elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from faceblur.errors import InputError

CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what a unit's LoadCredential= names."""

_REFERENCE = re.compile(r"\$\$|\$\{([^}]*)\}|\$(?=\{)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WAYS = "write ${VARIABLE}, ${file:/path} or ${credential:name}"


@dataclass
class Secrets:
    """Replaces references in texts by what they stand for.

    `${VARIABLE}` is from the environment, `${file:/path}` the content of a file,
    `${credential:name}` a credential that systemd gave the service, `${camera}` the camera's
    name; `$$` is a dollar sign. In an address (a text with `://`) each is percent-encoded, so a
    password may hold any character; a reference that is the whole text is taken as it is. `seen`
    has every secret that was used.
    """

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    seen: set[str] = field(default_factory=set, repr=False)

    def expand(self, text: str, *, camera: str | None = None) -> str:
        """Replace the references in a text.

        Raises:
            InputError: One of them stands for nothing.
        """
        encode = "://" in text

        def replace(match: re.Match[str]) -> str:
            if match.group() == "$$":
                return "$"
            name = match.group(1)
            if name is None:
                raise InputError(f"a reference lacks its closing brace: {_WAYS}")
            if name == "camera" and camera is not None:
                return quote(camera, safe=" ") if not encode else quote(camera, safe="")
            value = self._read(name)
            self.seen.add(value)
            if encode and match.group() != text:
                value = quote(value, safe="")
                self.seen.add(value)
            return value

        return _REFERENCE.sub(replace, text)

    def _read(self, name: str) -> str:
        kind, colon, rest = name.partition(":")
        if colon and kind == "file":
            return _content(Path(rest))
        if colon and kind == "credential":
            folder = self.environment.get(CREDENTIALS)
            if not folder:
                raise InputError(
                    f"there are no credentials: {CREDENTIALS} is not set; start this from a "
                    "systemd unit with LoadCredential="
                )
            if "/" in rest or rest in ("", ".", ".."):
                raise InputError(f"{rest!r} is no name of a credential")
            return _content(Path(folder, rest))
        if not _VARIABLE.fullmatch(name):
            raise InputError(f"${{{name}}} stands for nothing: {_WAYS}")
        value = self.environment.get(name)
        if not value:
            raise InputError(f"the environment has no {name}; set it, or {_WAYS}")
        return value


def _content(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"the secret in {path} cannot be read: {reason}") from None
    if not text:
        raise InputError(f"the secret in {path} is empty")
    return text
