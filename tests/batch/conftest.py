"""Short videos without loss, and folders that are masked."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from media import Box, Recording, moving_face_video, pattern, record
from trees import THRESHOLD, Run

from faceblur.cli import main
from faceblur.detection.session import DetectionSession


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mkv"
    record(path, pattern(30), Recording(encoder="ffv1", options={}))
    return path


@pytest.fixture
def face(tmp_path: Path) -> tuple[Path, list[Box]]:
    path = tmp_path / "face.mkv"
    how = Recording(encoder="ffv1", options={})
    return path, moving_face_video(path, frames=12, width=320, height=180, recording=how)


@pytest.fixture
def blur(session: DetectionSession) -> Run:
    """Run `faceblur blur ARGUMENTS…` in this process against the shared server."""
    assert session.server is not None
    server = session.server.address

    def invoke(*arguments: str | Path) -> Result:
        line = ["blur", *THRESHOLD, *map(str, arguments), "--server", server]
        return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)

    return invoke


@pytest.fixture
def tree(tmp_path: Path, portrait: npt.NDArray[np.uint8]) -> Path:
    """A folder with four photos, each different, in two levels."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    small = cv2.resize(portrait, (200, 200), interpolation=cv2.INTER_AREA)
    for number, name in enumerate(("a.jpg", "b.png", "sub/c.jpg", "sub/d.webp")):
        cv2.imwrite(str(folder / name), np.roll(small, 9 * number, axis=1))
    return folder
