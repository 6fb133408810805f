"""A short video, what was found in it, and how it is replayed."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from choices import FRAMES, LOSSLESS, ZONE, Run
from click.testing import CliRunner, Result
from media import Recording, moving_face_video

from faceblur.cli import main
from faceblur.detection.session import DetectionSession


@pytest.fixture(scope="session")
def run(session: DetectionSession) -> Run:
    """Run `faceblur blur ARGUMENTS…` in this process against the shared server."""
    assert session.server is not None
    address = session.server.address

    def invoke(*arguments: str | Path) -> Result:
        line = ["blur", *map(str, arguments), "--server", address]
        return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)

    return invoke


@pytest.fixture(scope="session")
def replay() -> Run:
    """Run `faceblur blur ARGUMENTS…` where no detector can be opened at all."""

    def refuse(*_: object) -> None:
        raise AssertionError("a replay must not look for faces")

    def invoke(*arguments: str | Path) -> Result:
        line = ["blur", *map(str, arguments)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(importlib.import_module("faceblur.cli.blur"), "open_session", refuse)
            return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)

    return invoke


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    how = Recording(encoder="ffv1", options={}, pixel_format="yuv444p")
    moving_face_video(path, frames=FRAMES, width=320, height=180, recording=how)
    return path


@pytest.fixture(scope="session")
def listed(run: Run, clip: Path) -> tuple[Path, Path]:
    """What `--json` wrote of the clip, with a zone and a time, and the masked clip."""
    boxes, output = clip.with_name("found.json"), clip.with_name("masked.mkv")
    result = run(
        clip, "-o", output, "--json", boxes, *LOSSLESS, "--always", f"{ZONE} @ 0.2-0.4",
        "--spare", "0.6-",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return boxes, output
