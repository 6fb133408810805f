"""`faceblur blur`: mask the faces in images and videos."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Final

import click

from faceblur.batch.annotation_format import check_list_place, write_findings
from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.found import Place
from faceblur.batch.jobs import AnyJob, Job, survey
from faceblur.batch.outcome import Outcome, RunOptions
from faceblur.batch.runner import run
from faceblur.batch.stored_search import address_of
from faceblur.batch.track_choice import TrackChoice
from faceblur.batch.video import Progress
from faceblur.cli.boxes import choose_tracks, keep_options, policy_of
from faceblur.cli.options import FilePath, logging_options, option, session_options
from faceblur.cli.policy_options import choice_options, policy_options
from faceblur.cli.progress import ProgressLine
from faceblur.cli.run_options import AUDIT_OPTION, run_options
from faceblur.cli.sections import sectioned
from faceblur.cli.spreading import Kept, Spread, run_on_cluster, shard_of, spread_options
from faceblur.cli.summary import Failures, left_alone, show
from faceblur.detection.models import Media
from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.errors import InputError
from faceblur.image.formats import is_still
from faceblur.masks.policy import Policy
from faceblur.redaction import names

logger = logging.getLogger(__name__)

_MOST_NAMES: Final = 20


@click.command(
    cls=sectioned(
        "Most used",
        "--output --mask --shape --expand --threshold --size --always --never --audio --server",
    )
)
@click.argument("inputs", nargs=-1, required=True, metavar="FILE|DIRECTORY|PATTERN|ADDRESS...")
@option(
    "-o",
    "--output",
    metavar="PATH",
    help="The result, or a directory for several; one that ends in / is made.",
)
@option(
    "--json", "json_file", type=FilePath, help="Write what was found to this file; implies --again."
)
@option(
    "--boxes",
    type=FilePath,
    metavar="FILE",
    help="Find nothing; mask what this file lists, as --json writes it. See docs/masks.md.",
)
@keep_options
@policy_options
@choice_options
@session_options
@run_options
@AUDIT_OPTION
@spread_options
@logging_options
def blur(
    *,
    inputs: tuple[str, ...],
    output: str | None,
    json_file: Path | None,
    boxes: Path | None,
    choice: TrackChoice | None,
    policy: Policy,
    session: SessionOptions,
    options: RunOptions,
    audit: Path | None,
    spread: Spread,
    quiet: bool,
) -> None:
    """Mask every face found in images and videos.

    photo.jpg becomes photo_blurred.jpg; the originals are never touched. A file that could not
    be checked completely is not written at all. Of a directory, what is finished already, with
    these settings and from the same content, is skipped. Addresses such as s3://bucket/folder/ are
    taken like files and directories: docs/stores.md.
    """
    found = survey(
        inputs,
        None if output is None else address_of(output) or Path(output),
        into_folder=output is not None and output.endswith(("/", os.sep)),
    )
    # What holds for all files holds for those of each shard: what is refused, and the one model.
    named = found.jobs
    media: Media = "video" if all(job.kind == "video" for job in named) else "image"
    if spread.shard is not None:
        found = shard_of(found, spread.shard)
    jobs = found.jobs
    replay = None if boxes is None else AnnotationFile.read(boxes)
    if choice is not None:
        replay = choose_tracks(replay, choice, named)
    if replay is not None:
        policy = policy_of(replay, policy)
        if json_file is not None and json_file.resolve() == replay.path.resolve():
            raise InputError(f"--json would replace {replay.path}; name another file")
    if json_file is not None:
        check_list_place(json_file)
    _check_times(policy, named, options)
    detection = dataclasses.replace(policy.detection, deadline_s=session.deadline_s)
    options = dataclasses.replace(
        options,
        policy=dataclasses.replace(policy, detection=detection),
        again=options.again or json_file is not None,
        writer="" if spread.shard is None else spread.shard.writer,
        names_tracks=json_file is not None or audit is not None,
    )
    if not jobs:
        done = True
        click.echo("none of the files is in this shard", err=True)
    elif spread.on is not None:
        made = run_on_cluster(
            found,
            spread.on,
            options,
            session,
            media=media,
            boxes=replay,
            reports=json_file is not None or choice is not None,
            audit=audit,
            quiet=quiet,
        )
        done = made.all_done
        # Without a model no worker has come up: an earlier list stays.
        if json_file is not None and (made.model is not None or made.reports):
            write_findings(json_file, made.model, policy, made.reports)
    else:
        # What is wrong with an audit is said before any work.
        kept = None if audit is None else Kept(audit, spread.shard)
        options = dataclasses.replace(options, audit=None if kept is None else kept.log)
        with _finder(session, detection.size, media, replay) as opened:
            started = time.monotonic()
            # A shard with one file is still one of many: that it fails is no fault of the line.
            outcomes = _run(jobs, opened, options, alone=len(named) == 1, quiet=quiet)
            elapsed_s = time.monotonic() - started
            _write_list(json_file, opened, policy, outcomes)
        last = None if kept is None else kept.end()
        if not quiet:
            show(outcomes, opened, elapsed_s, left=left_alone(found), last=last)
        done = all(outcome.error is None for outcome in outcomes)
    for path in found.earlier:
        logger.info("left alone, the result of an earlier run: %s", path)
    _name_unchecked(found.unchecked)
    if found.unchecked or not done:
        sys.exit(1)


def _write_list(
    path: Path | None,
    finder: DetectionSession | AnnotationFile,
    policy: Policy,
    outcomes: Sequence[Outcome],
) -> None:
    if path is not None:
        reports = [outcome.report for outcome in outcomes if outcome.report is not None]
        write_findings(path, finder.model, policy, reports)


def _name_unchecked(unchecked: Sequence[Place]) -> None:
    for path in unchecked:
        logger.info("not checked: %s", path)
    if unchecked:
        left = names([str(path) for path in unchecked], most=_MOST_NAMES)
        told = "1 file was" if len(unchecked) == 1 else f"{len(unchecked)} files were"
        hint = " (--verbose names them all)" if len(unchecked) > _MOST_NAMES else ""
        click.echo(f"faceblur: {told} not checked: {left}{hint}", err=True)


def _finder(
    session: SessionOptions, size: int, media: Media, replay: AnnotationFile | None
) -> AbstractContextManager[DetectionSession | AnnotationFile]:
    return nullcontext(replay) if replay else open_session(session, size=size, media=media)


def _check_times(policy: Policy, jobs: Sequence[AnyJob], options: RunOptions) -> None:
    """Refuse times where nothing moves; among videos, they just do not concern the images."""
    if policy.moving.is_on and all(job.kind == "image" for job in jobs):
        raise InputError("an image shows nothing that moves: leave out --moving")
    is_timed = policy.is_timed or options.video.muted
    if is_timed and all(isinstance(job, Job) and _is_still(job) for job in jobs):
        raise InputError(
            "a still image has no times: leave out --hide, --spare, the times of zones, and "
            "--audio with mute or beep"
        )


def _is_still(job: Job) -> bool:
    return job.kind == "image" and is_still(job.source)


def _run(
    jobs: list[AnyJob],
    finder: DetectionSession | AnnotationFile,
    options: RunOptions,
    *,
    alone: bool,
    quiet: bool,
) -> list[Outcome]:
    """Mask the files; what happened to them is in the order of the jobs.

    Raises:
        FaceblurError: The one that was asked for `alone` failed.
    """
    line = ProgressLine(shown=not quiet, files=len(jobs))
    failures = Failures(line)

    def on_progress(job: AnyJob, progress: Progress) -> None:
        line.update(job.source.name, done=progress.done, total=progress.total)

    done: dict[AnyJob, Outcome] = {}
    with closing(line), closing(run(jobs, finder, options, on_progress=on_progress)) as outcomes:
        for outcome in outcomes:
            done[outcome.job] = outcome
            line.file_done(outcome.job.source.name, done=len(done))
            if outcome.error is not None and not alone:
                failures.tell(outcome.job, str(outcome.error))
        failures.end()
    if alone and (error := done[jobs[0]].error) is not None:
        raise error
    return [done[job] for job in jobs]
