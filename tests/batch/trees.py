"""Folders that are masked, and what has become of their files."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle

Run = Callable[..., Result]
SOLID = Policy(mask=MaskStyle(mode="solid"))


THRESHOLD = ("--threshold", "0.2")
"""At the default the official model takes a part of the astronaut's suit for a face as well."""


def outputs(folder: Path) -> dict[str, bytes]:
    """All files in a folder of results, but for the notes."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in paths
        if ".faceblur" not in path.parts
    }


def outcomes(result: Result) -> dict[str, str]:
    """What the table says of each file."""
    lines = [re.split(r"\s{2,}", line) for line in result.stdout.splitlines()]
    return {Path(line[0]).name: line[-1] for line in lines if len(line) == 5}


def start(address: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """A job that goes on for seconds, over the narrow link to a server."""
    line = [sys.executable, "-m", "faceblur", "blur", *THRESHOLD, *map(str, arguments)]
    line += ["--server", address, "--transport", "raw"]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def partials(folder: Path) -> list[Path]:
    """Results that are being written, and hold something."""
    found = []
    for path in folder.rglob(".*partial*"):
        with contextlib.suppress(FileNotFoundError):
            found += [path] if path.stat().st_size > 0 else []
    return found
