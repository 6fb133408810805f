"""`faceblur blur`: mask the faces in pictures and videos."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from faceblur.cli.options import (
    FilePath,
    bundle,
    choice_options,
    logging_options,
    policy_options,
    session_options,
)
from faceblur.cli.progress import ProgressLine
from faceblur.findings import write_findings
from faceblur.image_pipeline import ImageOptions
from faceblur.jobs import Job, plan
from faceblur.policy import Policy
from faceblur.runner import Outcome, RunOptions, run
from faceblur.sessions import DetectionSession, SessionOptions, open_session
from faceblur.video_pipeline import Progress, VideoOptions


def _writing(
    quality: int | None, encoder: str | None, audio: str, keep_metadata: bool
) -> tuple[ImageOptions, VideoOptions]:
    return (
        ImageOptions(quality=quality, keep_metadata=keep_metadata),
        VideoOptions(quality=quality, encoder=encoder, audio=audio, keep_metadata=keep_metadata),
    )


writing_options = bundle(
    "writing",
    _writing,
    click.option("--quality", type=click.IntRange(1, 100), help="1-100. [like the source]"),
    click.option("--encoder", help="Video encoder, such as libx264 or hevc_nvenc."),
    click.option("--audio", type=click.Choice(["keep", "drop"]), default="keep", show_default=True),
    click.option("--keep-metadata", is_flag=True, help="Keep titles, dates and places."),
)


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="FILE|DIRECTORY|PATTERN...")
@click.option("-o", "--output", type=FilePath, help="The result, or a directory for several.")
@click.option("--json", "json_file", type=FilePath, help="Write what was found to this file.")
@policy_options
@choice_options
@session_options
@writing_options
@logging_options
def blur(
    *,
    inputs: tuple[str, ...],
    output: Path | None,
    json_file: Path | None,
    policy: Policy,
    session: SessionOptions,
    writing: tuple[ImageOptions, VideoOptions],
    quiet: bool,
) -> None:
    """Mask every face in pictures and videos.

    photo.jpg becomes photo_blurred.jpg; the originals are never touched. A file that could not
    be checked completely is not written at all.
    """
    jobs = plan(inputs, output)
    options = RunOptions(
        policy=policy,
        image=writing[0],
        video=writing[1],
        deadline_s=session.deadline_s,
    )
    with open_session(session) as opened:
        outcomes = _run(jobs, opened, options, quiet=quiet)
        if json_file is not None:
            reports = [outcome.report for outcome in outcomes if outcome.report is not None]
            write_findings(json_file, opened.model, policy, reports)
    _finish(outcomes, opened, quiet=quiet)


def _run(
    jobs: list[Job], session: DetectionSession, options: RunOptions, *, quiet: bool
) -> list[Outcome]:
    line = ProgressLine(shown=not quiet)

    def on_progress(job: Job, progress: Progress) -> None:
        line.update(job.source.name, done=progress.done, total=progress.total)

    outcomes = []
    for outcome in run(jobs, session, options, on_progress=on_progress):
        line.finish()
        outcomes.append(outcome)
        if outcome.error is not None and len(jobs) > 1:
            click.echo(f"{outcome.job.source}: {outcome.error}", err=True)
    return outcomes


def _finish(outcomes: list[Outcome], session: DetectionSession, *, quiet: bool) -> None:
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if len(outcomes) == 1 and outcomes[0].error is not None:
        raise outcomes[0].error
    if not quiet:
        click.echo(_summary(outcomes, session))
    if failed:
        sys.exit(1)


def _summary(outcomes: list[Outcome], session: DetectionSession) -> str:
    reports = [outcome.report for outcome in outcomes if outcome.report is not None]
    faces = sum(len(frame.detections) for report in reports for frame in report.frames)
    frames = sum(len(report.frames) for report in reports)
    elapsed_s = sum(outcome.elapsed_s for outcome in outcomes)
    what = str(outcomes[0].job.output) if len(outcomes) == 1 else f"{len(reports)} files"
    failed = len(outcomes) - len(reports)
    text = f"{what}: {_count(faces, 'face')} masked in {_count(frames, 'frame')}, {elapsed_s:.1f} s"
    text += f" ({session.model.name} model, {session.where})"
    return text + (f"; {_count(failed, 'file')} failed" if failed else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
