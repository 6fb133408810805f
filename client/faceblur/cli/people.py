"""`faceblur people`: who is in a video, to decide who is masked."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Final

import click

from faceblur.batch.annotation_format import check_list_place, write_findings
from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.faces import DetectedFaces, RecordedFaces
from faceblur.batch.jobs import Job, survey
from faceblur.batch.people import find_people, look_at
from faceblur.batch.people_page import write_page
from faceblur.batch.stored_search import address_of
from faceblur.batch.video import Progress
from faceblur.cli.options import (
    FilePath,
    detection_options,
    logging_options,
    option,
    session_options,
)
from faceblur.cli.progress import ProgressLine
from faceblur.cli.sections import sectioned
from faceblur.detection.options import DetectionOptions
from faceblur.detection.session import SessionOptions, open_session
from faceblur.detections import FrameDetectionsLog, MediaDetections
from faceblur.errors import InputError
from faceblur.files import check_place
from faceblur.masks.policy import Policy
from faceblur.redaction import printable

_SUFFIXES: Final = (".html", ".htm")


@click.command(cls=sectioned("Most used", "--output --boxes --threshold --size --server"))
@click.argument("video")
@option(
    "-o",
    "--output",
    type=FilePath,
    metavar="PAGE",
    show_default="clip_people.html beside clip.mp4",
    help="The page; the list of faces gets the same name with .json.",
)
@option(
    "--boxes",
    type=FilePath,
    metavar="FILE",
    help="Find nothing; show whom this list of faces names, as --json of blur wrote it.",
)
@detection_options
@session_options
@logging_options
def people(
    *,
    video: str,
    output: Path | None,
    boxes: Path | None,
    detection: DetectionOptions,
    session: SessionOptions,
    quiet: bool,
) -> None:
    """Show who is in VIDEO, so that somebody can decide who is masked.

    Writes a page with one card for each track: its largest, sharpest view and its times. THE PAGE
    SHOWS UNMASKED FACES: only you can read it, and only you delete it. Beside it, the list of all
    faces, for `faceblur blur VIDEO --boxes people.json --keep-visible 3,7`.
    """
    source = _video(video)
    page = output or source.with_name(f"{source.stem}_people.html")
    if page.suffix.lower() not in _SUFFIXES:
        raise InputError(f"the page is HTML: name {page.name} with .html")
    listed = page.with_suffix(".json") if boxes is None else boxes
    check_place(page)
    if boxes is None:
        check_list_place(listed)
    policy = Policy(detection=dataclasses.replace(detection, deadline_s=session.deadline_s))
    line = ProgressLine(shown=not quiet, files=1)

    def on_progress(progress: Progress) -> None:
        line.update(source.name, done=progress.done, total=progress.total)

    with closing(line):
        if boxes is not None:
            faces = RecordedFaces(AnnotationFile.read(boxes))
            report = find_people(source, faces, policy, on_progress=on_progress)
        else:
            with open_session(session, size=detection.size, media="video") as opened:
                found = DetectedFaces(opened.detector, policy)
                report = find_people(source, found, policy, on_progress=on_progress)
                write_findings(listed, opened.model, policy, [report])
        seen = look_at(report, _log(report))
    write_page(page, seen, source=source, listed=listed)
    if not quiet:
        shown = sum(person.view is not None for person in seen)
        click.echo(
            f"{printable(page)}: {shown} of {len(seen)} tracks can be left unmasked; the page "
            f"shows unmasked faces, delete it when you have decided; the list is "
            f"{printable(listed)}"
        )


def _log(report: MediaDetections) -> FrameDetectionsLog:
    assert isinstance(report.frames, FrameDetectionsLog)
    return report.frames


def _video(text: str) -> Path:
    """The one video that is meant.

    Raises:
        InputError: It is none, or there are several.
    """
    if (address := address_of(text)) is not None:
        raise InputError(f"{address} is in a store: fetch the video, and give the file")
    jobs = survey((text,), None).jobs
    if len(jobs) > 1:
        raise InputError(f"{text} holds {len(jobs)} files; name one video, as each has its page")
    (job,) = jobs
    assert isinstance(job, Job)
    if job.kind != "video":
        raise InputError(
            f"{job.source} is an image, and people are followed in videos; to leave out a face "
            "of an image, delete it from the list that faceblur blur --json writes"
        )
    return job.source
