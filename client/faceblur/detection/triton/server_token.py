"""What opens a local server's closed calls: known to the user who started it, and to nobody else.

Shared memory is one of them. Each server of ours has a token of its own, in a file that only its
user can read, so that the user's other programs find it by the port.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any, Final

from faceblur.detection.triton.loopback import hosts_of, is_loopback
from faceblur.files import cache_folder
from faceblur.owners import is_gone, own_mark

NAME: Final = "faceblur"
"""Of the header's last part."""

HEADER: Final = f"triton-grpc-protocol-{NAME}"


class Opener:
    """A plugin of `tritonclient`: sends the token with every call.

    Attributes:
        token: Another one when another server has taken the place of that one.
    """

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: Any) -> None:
        """Add the header."""
        request.headers = {**(request.headers or {}), HEADER: self.token}


def new() -> str:
    """A token that nobody can guess."""
    return secrets.token_hex(32)


def save(port: int, token: str) -> None:
    """Leave a server's token for this user's other programs.

    Raises:
        OSError: It cannot be written.
    """
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(folder)
    unfinished = folder / f".{port}-{secrets.token_hex(4)}"
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{own_mark()} {token}")
    unfinished.replace(folder / str(port))


def remove(port: int, token: str) -> None:
    """Take it away again, unless another server has its place by now."""
    file = _folder() / str(port)
    with contextlib.suppress(OSError):
        if file.read_text().endswith(f" {token}"):
            file.unlink()


def find(address: str) -> str | None:
    """The token of this user's server at an address of `Connection`, None where there is none."""
    if not all(is_loopback(host) for host in hosts_of(address)):
        return None
    try:
        return (_folder() / address.rpartition(":")[2]).read_text().partition(" ")[2] or None
    except OSError:
        return None


def _folder() -> Path:
    return cache_folder() / "servers"


def _sweep(folder: Path) -> None:
    """Remove what servers left whose process no longer exists."""
    for file in folder.iterdir():
        with contextlib.suppress(OSError):
            if is_gone(file.read_text().partition(" ")[0]):
                file.unlink()
