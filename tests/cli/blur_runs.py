"""`faceblur` as a program of its own, and what it leaves meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

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
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.glob(".*partial*"):
            if path.stat().st_size > 0:
                return path
        time.sleep(0.02)
    raise AssertionError("nothing was being written")
