"""How the page is served, and what one visitor may ask of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from faceblur.detection.session import SessionOptions
from faceblur.errors import InputError
from faceblur.masks.policy import Policy
from faceblur.stores.address import Address
from faceblur.web.names import LOOPBACK
from faceblur.web.receivers import Receivers

TOKEN_VARIABLE: Final = "FACEBLUR_WEB_TOKEN"
"""Variable of the environment with the token of programs."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{32,}")
"""As in RFC 6750, and too long to be guessed."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one visitor may ask for.

    Attributes:
        file_bytes: Size of one file.
        pixels: Of one image or frame.
        jobs: Files that are there at the same time, finished ones included.
        spare_bytes: What must stay free on the disk.
    """

    file_bytes: int = 8 << 30
    pixels: int = 200_000_000
    jobs: int = 200
    spare_bytes: int = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Tls:
    """What connections are encrypted with.

    Attributes:
        certificate: PEM; None for one that nobody else vouches for, made at the start.
        key: PEM; None if it is in the same file.
    """

    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        """Check that they belong together.

        Raises:
            InputError: There is a key for a certificate that is made with its own.
        """
        if self.certificate is None and self.key is not None:
            raise InputError("--https-key needs --https-cert, the certificate that it belongs to")


@dataclass(frozen=True, kw_only=True)
class WebOptions:
    """How the page is served.

    Attributes:
        port: 0 for a free one.
        keep_s: Seconds after which a file that is finished is deleted.
        leave_s: Seconds after which everything is deleted when no page is open any more.
        workers: Files that are masked at the same time.
        cameras: File of `faceblur run`, whose cameras the page shows; None for no such page.
        token: What programs show to be answered; None if none may ask.
        tls: What the connection is encrypted with; None for not at all, on this machine alone.
        receivers: Who may be told of files that are finished.
        folders: Folders of object stores from which programs may have files fetched.
        outputs: Folders of object stores into which they may have results written.

    Raises:
        InputError: The host is not this machine: without encryption nobody else may connect. Or
            the token can be guessed.
    """

    policy: Policy = field(default_factory=Policy)
    session: SessionOptions = field(default_factory=SessionOptions)
    limits: Limits = field(default_factory=Limits)
    host: str = "127.0.0.1"
    port: int = 0
    keep_s: float = 1800.0
    leave_s: float = 60.0
    workers: int = 2
    cameras: Path | None = None
    token: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    receivers: Receivers = field(default_factory=Receivers)
    folders: tuple[Address, ...] = ()
    outputs: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        """Check the host and the token."""
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise InputError(
                f"{TOKEN_VARIABLE} needs at least 32 letters, digits or -._~+/=: make one with "
                "openssl rand -hex 32"
            )
        if self.host not in LOOPBACK and self.tls is None:
            raise InputError(
                f"the page shows unmasked faces, so at {self.host} it is served encrypted or not "
                "at all: add --https-self-signed, or --https-cert and --https-key; or leave out "
                "--host, and reach it from another machine by ssh -L"
            )
