"""Fixtures of the commands that mask: a server, files, and `faceblur blur` in this process."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from blur_runs import Run
from click.testing import CliRunner, Result
from media import moving_face_video

from faceblur.cli import main
from faceblur.detection.session import DetectionSession

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def address(session: DetectionSession) -> str:
    assert session.server is not None
    return session.server.address


@pytest.fixture
def run(address: str) -> Run:
    """Run `faceblur blur ARGUMENTS…` in this process against the shared server."""

    def invoke(*arguments: str | Path) -> Result:
        line = ["blur", *map(str, arguments), "--server", address]
        return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)

    return invoke


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "docs" / "images" / "before.jpg", tmp_path / "photo.jpg"))


@pytest.fixture
def clip(tmp_path: Path) -> tuple[Path, list[npt.NDArray[np.float32]]]:
    """A video of a moving face, and where it is in each frame."""
    path = tmp_path / "clip.mp4"
    return path, moving_face_video(path, frames=40, width=640, height=360)
