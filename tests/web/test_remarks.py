"""What is warned of while a file is masked stands on its card, whatever the terminal shows."""

from __future__ import annotations

import logging
from pathlib import Path

from media import moving_face_video

from faceblur.cli.base import configure_logging
from faceblur.detection.session import DetectionSession
from faceblur.masks.policy import Policy
from faceblur.web.jobs.job import WebJob
from faceblur.web.jobs.remarks import Remarks
from faceblur.web.jobs.rendering import render


def test_a_damaged_video_is_said_to_be(session: DetectionSession, tmp_path: Path) -> None:
    source = tmp_path / "source.ts"
    moving_face_video(source, frames=4, width=320, height=240)
    # Half a packet of what is sent last, and nobody says how long it was.
    source.write_bytes(source.read_bytes()[:-100])
    job = WebJob(id="", owner="", name="film.ts", folder=tmp_path, kind="video", source=source)
    result = render(job, session, Policy(), on_change=lambda: None)
    (note,) = result.notes
    assert note.startswith("film.ts is damaged: ")
    assert "its last packet is cut off; what is missing there is missing in the result" in note
    assert not any(isinstance(each, Remarks) for each in logging.getLogger("faceblur").handlers)


def test_only_warnings_of_the_file_are_taken() -> None:
    # Though the terminal shows none.
    configure_logging(verbose=False, quiet=True)
    logger = logging.getLogger("faceblur.video.source")
    with Remarks(Path("/private/1/source.ts")) as remarks:
        for name in ("1", "2", "1"):
            logger.warning("%s: track 1 ends", f"/private/{name}/source.ts")
        logger.info("%s begins", "/private/1/source.ts")
        logger.warning("converting sound")
        logger.warning("%s is odd", "/private/1/source.ts")
    logger.warning("%s is past", "/private/1/source.ts")
    assert remarks.sentences == ["track 1 ends", "/private/1/source.ts is odd"]
