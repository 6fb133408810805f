"""Who may be told of files that are finished: the hosts that somebody has allowed, no others."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from faceblur.errors import InputError
from faceblur.web.names import LOOPBACK, shown

SECRET_VARIABLE: Final = "FACEBLUR_WEBHOOK_SECRET"
"""Variable of the environment with what is signed with."""

_FEWEST_BYTES: Final = 24
_URL: Final = re.compile(r"[\x21-\x7e]{1,2000}")
_LABEL: Final = "[a-z0-9-]{1,63}"
_HOST: Final = re.compile(rf"(\[[0-9a-f:.]+\]|{_LABEL}(\.{_LABEL})*)(:[0-9]{{1,5}})?")


@dataclass(frozen=True, kw_only=True)
class Receivers:
    """Who may be told, and how they know who tells them.

    Attributes:
        hosts: HOST or HOST:PORT, in lower case; others are never asked.
        secret: What is signed with.

    Raises:
        InputError: A host is none, or there is no secret, or it can be guessed.
    """

    hosts: frozenset[str] = frozenset()
    secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Check the hosts and the secret."""
        for host in self.hosts:
            if not _HOST.fullmatch(host):
                raise InputError(f"--webhook-host {host} is no host: say hooks.example.org:8443")
        if self.hosts and len(self.key) < _FEWEST_BYTES:
            raise InputError(
                f"webhooks are signed: set {SECRET_VARIABLE} to whsec_ and 24 bytes or more in "
                'base64, as by "whsec_$(openssl rand -base64 32)"'
            )

    @property
    def key(self) -> bytes:
        """The bytes of the secret; none if it is none."""
        try:
            return base64.b64decode(self.secret.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            return b""

    def check(self, url: str) -> SplitResult:
        """Take an address apart that somebody wants to be told at.

        Raises:
            InputError: Nobody has allowed it; one sentence.
        """
        try:
            parts = urlsplit(url) if _URL.fullmatch(url) else None
            port = parts and parts.port
        except ValueError:
            parts = None
        if parts is None or not parts.hostname or parts.username is not None or parts.fragment:
            raise InputError("the webhook is no address such as https://hooks.example.org/done")
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise InputError("the webhook needs https://, unless it is of this machine")
        host = shown(parts.hostname)
        default = 443 if parts.scheme == "https" else 80
        named = host if (port or default) == default else f"{host}:{port}"
        if not {named, f"{host}:{port or default}"} & self.hosts:
            raise InputError(f"nobody has allowed webhooks to {named}: see --webhook-host")
        return parts
