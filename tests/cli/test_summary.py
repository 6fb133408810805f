"""What is said when several files are done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from faceblur.batch.jobs import Job
from faceblur.batch.outcome import Outcome
from faceblur.cli.summary import show
from faceblur.detection.detector import ModelInfo
from faceblur.detections import MediaDetections


class Finder:
    """A session, as far as a summary goes."""

    model = ModelInfo("bundled", "")
    where = "here"


@pytest.mark.parametrize(
    ("notes", "left_out", "said"),
    [
        ((), (), ""),
        (("lost at 0:02",), (), "; look at 1 file, see the warnings"),
        ((), ("subtitles left out",), "; sound or subtitles left out of 1 file"),
        (
            ("lost at 0:02",),
            ("subtitles left out",),
            "; look at 1 file, see the warnings; sound or subtitles left out of 1 file",
        ),
    ],
)
def test_what_to_look_at_is_said_of_several_files(
    notes: Sequence[str], left_out: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = []
    for name in ("a.mp4", "b.mp4"):
        report = MediaDetections(Path(name), 2, 2, [])
        if name == "b.mp4":
            report.notes.extend(notes)
            report.left_out.extend(left_out)
        job = Job(Path(name), Path(f"masked_{name}"), "video")
        outcomes.append(Outcome(job=job, elapsed_s=1, report=report))
    show(outcomes, Finder(), 2.0)  # type: ignore[arg-type]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"2 files: 0 faces masked in 0 frames, 2.0 s (bundled model, here){said}"


def test_what_decoded_and_encoded_is_named_where_it_was_not_the_cpu(
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcomes = []
    for name in ("a.mp4", "b.mp4"):
        report = MediaDetections(Path(name), 2, 2, [], devices=["decoded by cuda"])
        outcomes.append(
            Outcome(job=Job(Path(name), Path("out"), "video"), elapsed_s=1, report=report)
        )
    outcomes[0].report.devices.append("encoded by h264_nvenc")  # type: ignore[union-attr]
    for some, said in (
        (outcomes, "; decoded by cuda; encoded by h264_nvenc in 1 file)"),
        (outcomes[:1], "; decoded by cuda; encoded by h264_nvenc)"),
        (outcomes[1:], "; decoded by cuda)"),
    ):
        show(some, Finder(), 2.0)  # type: ignore[arg-type]
        assert capsys.readouterr().out.rstrip().endswith(f"(bundled model, here{said}")
