"""`faceblur web` as its users start it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Served:
    """A page that is served.

    Attributes:
        address: With the token.
        base: Without.
        uploads: Where its private folder lies.
    """

    process: subprocess.Popen[str]
    address: str
    base: str
    uploads: Path


@contextmanager
def served(uploads: Path, *arguments: str) -> Iterator[Served]:
    """Start the command, and end it as Ctrl-C does."""
    line = [sys.executable, "-m", "faceblur", "web", "--no-browser", "-q", *arguments]
    process = subprocess.Popen(
        line,
        env=os.environ | {"TMPDIR": str(uploads)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, process.communicate()[1]
        yield Served(process, address, address.partition("/?")[0], uploads)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)
