"""Folders that are masked, and what has become of their files."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from faceblur.detection.session import DetectionSession
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


def start(session: DetectionSession, *arguments: str | Path) -> subprocess.Popen[str]:
    assert session.server is not None
    line = [sys.executable, "-m", "faceblur", "blur", *THRESHOLD, *map(str, arguments)]
    line += ["--server", session.server.address]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def partials(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*partial*") if path.stat().st_size > 0]


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if reached():
                return
        except FileNotFoundError:
            continue
        time.sleep(0.02)
    raise AssertionError("it did not come to that")
