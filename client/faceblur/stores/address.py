"""Names of files that do not lie on this machine, such as `s3://bucket/folder/clip.mp4`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from faceblur.errors import InputError
from faceblur.redaction import HIDDEN, redact_address

AZURE: Final = ("az", "abfs", "abfss")
WEB: Final = ("https",)
"""Not http: whoever is on the way would see the file unmasked."""

_ADDRESS: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://(?P<root>[^/?]*)(?P<rest>.*)", re.S
)
_LOCAL: Final = ("file", "local", "asynclocal")
_KEEPING: Final = ("cached", "blockcache", "filecache", "simplecache")
"""What fsspec would leave copies on this disk with."""

_CHAIN: Final = re.compile(r"^[A-Za-z0-9+.-]+::|::[A-Za-z][A-Za-z0-9+.-]*://")
_BUCKETS: Final = ("s3", "s3a", "gs", "gcs", "az")

_ALIASES: Final = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "ssh": "sftp"}
"""Schemes under which a library takes the same files."""

_ODD: Final = frozenset(("", ".", ".."))
"""Parts of a name that mean something else in a folder."""


@dataclass(frozen=True)
class Address:
    """Where a file or a folder lies; text shows it without secrets.

    It has what `pathlib.PurePosixPath` has of it, so that names of results are made alike.

    Attributes:
        scheme: In small letters: s3, az, gs, https, …
        root: Bucket, container or host; it may hold a password, and is not shown.
        path: Below that, without a slash at either end.
        query: Of https, with its question mark; it may be a signature, and is not shown.
    """

    scheme: str
    root: str = field(repr=False)
    path: str
    query: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The whole, secrets included: for whoever opens it, never for a person."""
        return f"{self.scheme}://{self.root}/{self.path}{self.query}"

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written there."""
        return self.scheme in WEB

    @property
    def is_odd(self) -> bool:
        """Whether it can be no name in a folder, or its library takes it for another."""
        parts = self.path.split("/")
        marks = ("?", "#") if self.scheme in AZURE else ("?versionId=",)
        return not _ODD.isdisjoint(parts) or any(mark in self.path for mark in ("\0", *marks))

    @property
    def name(self) -> str:
        """The last part."""
        return self.path.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> Address:
        """The folder that it is in."""
        return Address(self.scheme, self.root, self.path.rpartition("/")[0])

    @property
    def parts(self) -> tuple[str, ...]:
        """Of the path."""
        return tuple(self.path.split("/")) if self.path else ()

    def with_name(self, name: str) -> Address:
        """Another file of the same folder."""
        return self.parent / name

    def is_inside(self, folder: Address) -> bool:
        """Whether it lies in a folder, or in one of that."""
        same = self._shares_root(folder)
        return same and (not folder.path or self.path.startswith(f"{folder.path}/"))

    def is_surely_inside(self, folder: Address) -> bool:
        """The same, at the very host, login or account: for a folder that allows something."""
        return self.root == folder.root and self.is_inside(folder)

    def is_same(self, other: Address) -> bool:
        """Whether both may be one file, also where one is spelled otherwise (s3a, a user)."""
        return self.path == other.path and self._shares_root(other)

    def _shares_root(self, other: Address) -> bool:
        """Where that cannot be told, it does: an original that is replaced is lost."""
        scheme = _ALIASES.get(self.scheme, self.scheme)
        if scheme != _ALIASES.get(other.scheme, other.scheme):
            return False
        if scheme == "az":
            (box, _, host), (its_box, _, its_host) = (
                each.root.lower().partition("@") for each in (self, other)
            )
            accounts = {each.partition(".")[0] for each in (host, its_host) if each}
            return box == its_box and len(accounts) < 2
        if scheme in _BUCKETS:
            return self.root == other.root
        return _host(self.root) == _host(other.root)

    def relative_to(self, folder: Address) -> PurePosixPath:
        """Its name from a folder on.

        Raises:
            ValueError: It is not inside.
        """
        if not self.is_inside(folder):
            raise ValueError(f"{self} is not in {folder}")
        return PurePosixPath(self.path[len(folder.path) + 1 if folder.path else 0 :])

    def __truediv__(self, name: str | PurePosixPath) -> Address:
        path = f"{self.path}/{name}" if self.path else str(name)
        return Address(self.scheme, self.root, path)

    def __str__(self) -> str:
        shown = redact_address(f"{self.scheme}://{self.root}/{self.path}")
        return f"{shown}?{HIDDEN}" if self.query else shown


def _host(root: str) -> str:
    """A host without user, password and port."""
    return re.sub(r":\d+$", "", root.rpartition("@")[2].lower())


def parse_address(text: str) -> Address | None:
    """Read an address; None for what is the name of a file of this machine.

    Raises:
        InputError: It names nothing that could be opened, holds credentials where they do not
            belong, or would be read through a copy on the disk.
    """
    match = _ADDRESS.fullmatch(text)
    if _CHAIN.search(text) or (match and match["scheme"].lower() in _KEEPING):
        raise InputError(
            f"{redact_address(text)} goes through another address, which would leave unmasked "
            "copies on this disk: give the last address alone"
        )
    if match is None or match["scheme"].lower() in _LOCAL:
        return None
    scheme, root, rest = match["scheme"].lower(), match["root"], match["rest"][1:]
    if not root and scheme != "memory":
        raise InputError(f"{redact_address(text)} names no bucket, container or host: add it")
    if "@" in root and scheme in _BUCKETS:
        raise InputError(
            f"{redact_address(text)} has credentials in it: leave them out, they are taken from "
            "the environment or from where you logged in"
        )
    query = ""
    if scheme in WEB:
        rest, mark, query = rest.partition("#")[0].partition("?")
        query = mark + query
    return Address(scheme, root, rest.rstrip("/"), query)
