"""A masked video with its audit, and the commands that look at it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from media import moving_face_video
from verified_clips import FRAMES, Clip, Run

from faceblur.cli import main
from faceblur.detection.session import DetectionSession


@pytest.fixture(scope="session")
def run(session: DetectionSession) -> Run:
    """Run `faceblur ARGUMENTS…` in this process against the shared server."""
    assert session.server is not None
    server = session.server.address

    def invoke(*arguments: str | Path) -> Result:
        line = [*map(str, arguments), "--server", server]
        return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)

    return invoke


@pytest.fixture(scope="session")
def clip(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    folder = tmp_path_factory.mktemp("verify")
    source, output, audit = folder / "clip.mp4", folder / "masked.mp4", folder / "audit"
    boxes = moving_face_video(source, frames=FRAMES, width=480, height=272)
    assert run("blur", source, "-o", output, "--audit", audit).exit_code == 0
    return Clip(source, output, audit, boxes)
