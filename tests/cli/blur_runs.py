"""`faceblur` as a program of its own, and what it leaves meanwhile."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result
from waiting import until

Run = Callable[..., Result]


def faceblur(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "faceblur", *map(str, arguments)]
    # Jobs in the background of a shell ignore Ctrl-C, and so would what they start.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", **options
        )
    finally:
        signal.signal(signal.SIGINT, inherited)


def wait_for_partial(folder: Path) -> Path:
    """Wait until the result is being written under its temporary name."""
    found: list[Path] = []

    def is_written() -> bool:
        with contextlib.suppress(FileNotFoundError):
            found.extend(path for path in folder.glob(".*partial*") if path.stat().st_size > 0)
        return bool(found)

    until(is_written, "a result is being written")
    return found[0]
