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
from typing import Final, get_args

import click

from faceblur.batch.annotation_format import check_list_place, write_findings
from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.image import ImageOptions
from faceblur.batch.jobs import AnyJob, Job, survey
from faceblur.batch.memory import default_workers
from faceblur.batch.outcome import Outcome, RunOptions
from faceblur.batch.runner import run
from faceblur.batch.stored_search import address_of
from faceblur.batch.track_choice import TrackChoice
from faceblur.batch.video import Progress
from faceblur.cli.boxes import choose_tracks, keep_options, policy_of
from faceblur.cli.options import FilePath, bundle, logging_options, option, session_options
from faceblur.cli.policy_options import choice_options, policy_options
from faceblur.cli.progress import ProgressLine
from faceblur.cli.sections import sectioned
from faceblur.cli.sound import SoundOption, sound_of
from faceblur.cli.summary import show
from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.errors import FaceblurError, InputError
from faceblur.image.formats import is_still
from faceblur.masks.policy import Policy
from faceblur.proof.audit.log import AuditLog
from faceblur.proof.audit.reader import environment_key
from faceblur.redaction import names
from faceblur.video.options import HardwareDecoding, VideoOptions

logger = logging.getLogger(__name__)

_MOST_NAMES: Final = 20


def _run_options(
    quality: int | None,
    encoder: str | None,
    hardware_decoding: HardwareDecoding,
    audio: tuple[str, ...],
    keep_metadata: bool,
    keep_subtitles: bool,
    workers: int | None,
    again: bool,
    audit: Path | None,
) -> RunOptions:
    sound = sound_of(audio)
    return RunOptions(
        image=ImageOptions(quality=quality, keep_metadata=keep_metadata),
        video=VideoOptions(
            quality=quality,
            encoder=encoder,
            hardware_decoding=hardware_decoding,
            audio=sound.audio,
            muted=sound.muted,
            keep_metadata=keep_metadata,
            keep_subtitles=keep_subtitles,
        ),
        workers=workers or default_workers(),
        again=again,
        # What is wrong with an audit is said before any work.
        audit=None if audit is None else AuditLog(audit, key=environment_key()),
    )


run_options = bundle(
    "options",
    _run_options,
    option("--quality", type=click.IntRange(1, 100), show_default="like the source", help="1-100."),
    option(
        "--encoder",
        help="Video encoder, such as libx264 or hevc_nvenc; or auto for the GPU's where that was "
        "measured to be faster.",
    ),
    option(
        "--hardware-decoding",
        type=click.Choice(get_args(HardwareDecoding)),
        default="auto",
        help="What decodes videos: a device where that was measured to be faster, one that is "
        "named, or the CPU. The frames are the same.",
    ),
    option(
        "--audio",
        cls=SoundOption,
        multiple=True,
        default=("keep",),
        metavar="keep|drop|mute START-END|beep START-END",
        help="Keep the audio, whose voices are not masked, or drop it; or leave silence or a tone "
        "in a part of it, such as mute 0:10-0:14, and no subtitles. Repeatable.",
    ),
    option("--keep-metadata", is_flag=True, help="Keep titles, dates and places."),
    option(
        "--keep-subtitles",
        is_flag=True,
        help="Keep subtitles that do not look like speech too: positions, readings, bitmaps.",
    ),
    option(
        "--workers",
        type=click.IntRange(1, 64),
        metavar="N",
        show_default="two for each core",
        help="Of several files, mask so many at the same time.",
    ),
    option("--again", is_flag=True, help="Redo results of a batch that are finished."),
    option(
        "--audit",
        type=FilePath,
        metavar="DIR",
        help="Write a manifest of each result to this folder, chained to the one before.",
    ),
)


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
    jobs = found.jobs
    replay = None if boxes is None else AnnotationFile.read(boxes)
    if choice is not None:
        replay = choose_tracks(replay, choice, jobs)
    if replay is not None:
        policy = policy_of(replay, policy)
        if json_file is not None and json_file.resolve() == replay.path.resolve():
            raise InputError(f"--json would replace {replay.path}; name another file")
    if json_file is not None:
        check_list_place(json_file)
    _check_times(policy, jobs, options)
    detection = dataclasses.replace(policy.detection, deadline_s=session.deadline_s)
    options = dataclasses.replace(
        options,
        policy=dataclasses.replace(policy, detection=detection),
        again=options.again or json_file is not None,
        names_tracks=json_file is not None or options.audit is not None,
    )
    with _finder(session, detection.size, jobs, replay) as opened:
        started = time.monotonic()
        outcomes = _run(jobs, opened, options, quiet=quiet)
        elapsed_s = time.monotonic() - started
        if json_file is not None:
            reports = [outcome.report for outcome in outcomes if outcome.report is not None]
            write_findings(json_file, opened.model, policy, reports)
    if not quiet:
        show(outcomes, opened, options, elapsed_s, others=found.others)
    if found.unchecked:
        for path in found.unchecked:
            logger.info("not checked: %s", path)
        left = names([str(path) for path in found.unchecked], most=_MOST_NAMES)
        told = "1 file was" if len(found.unchecked) == 1 else f"{len(found.unchecked)} files were"
        hint = " (--verbose names them all)" if len(found.unchecked) > _MOST_NAMES else ""
        click.echo(f"faceblur: {told} not checked: {left}{hint}", err=True)
    if found.unchecked or any(outcome.error is not None for outcome in outcomes):
        sys.exit(1)


def _finder(
    session: SessionOptions, size: int, jobs: Sequence[AnyJob], replay: AnnotationFile | None
) -> AbstractContextManager[DetectionSession | AnnotationFile]:
    if replay is not None:
        return nullcontext(replay)
    # One detector for all: among images, videos get theirs.
    only_videos = all(job.kind == "video" for job in jobs)
    return open_session(session, size=size, media="video" if only_videos else "image")


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
    quiet: bool,
) -> list[Outcome]:
    """Mask the files; what happened to them is in the order of the jobs."""
    line = ProgressLine(shown=not quiet, files=len(jobs))
    failures = _Failures(line)

    def on_progress(job: AnyJob, progress: Progress) -> None:
        line.update(job.source.name, done=progress.done, total=progress.total)

    done: dict[AnyJob, Outcome] = {}
    with closing(line), closing(run(jobs, finder, options, on_progress=on_progress)) as outcomes:
        for outcome in outcomes:
            done[outcome.job] = outcome
            line.file_done(outcome.job.source.name, done=len(done))
            if outcome.error is not None and len(jobs) > 1:
                failures.tell(outcome.job, outcome.error)
        failures.end()
    if len(jobs) == 1 and (error := done[jobs[0]].error) is not None:
        raise error
    return [done[job] for job in jobs]


class _Failures:
    """Tells why files of a batch failed, each reason once."""

    def __init__(self, line: ProgressLine) -> None:
        self._line = line
        self._more: dict[str, list[str]] = {}

    def tell(self, job: AnyJob, error: FaceblurError) -> None:
        """Say why a file failed, unless others have failed for that reason."""
        reason = str(error)
        if reason in self._more:
            self._more[reason].append(str(job.source))
            return
        self._more[reason] = []
        named = str(job.source) in reason or str(job.output) in reason
        self._line.echo(reason if named else f"{job.source}: {reason}")

    def end(self) -> None:
        """Name the files that failed for a reason that was told before."""
        for reason, others in self._more.items():
            if others:
                self._line.echo(f"{reason}: so too {names(others)}")
