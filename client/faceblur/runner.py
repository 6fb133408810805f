"""Blur a list of files with one detector, and say what happened to each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from faceblur.errors import FaceblurError, OutputError, ServerError
from faceblur.image_pipeline import ImageOptions, blur_image
from faceblur.jobs import Job
from faceblur.masks import Masker
from faceblur.policy import Policy
from faceblur.report import MediaReport
from faceblur.sessions import DetectionSession
from faceblur.video_pipeline import Progress, VideoOptions, blur_video

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a list of files is blurred.

    Attributes:
        policy: What is masked and how.
        image: How pictures are written.
        video: How videos are written.
        deadline_s: Seconds that one frame may take.
    """

    policy: Policy = field(default_factory=Policy)
    image: ImageOptions = field(default_factory=ImageOptions)
    video: VideoOptions = field(default_factory=VideoOptions)
    deadline_s: float = 10.0


@dataclass(frozen=True)
class Outcome:
    """What happened to one file.

    Attributes:
        job: The file.
        report: What was found in it; None when it failed.
        error: Why it failed; None when it did not.
        elapsed_s: Seconds it took.
    """

    job: Job
    report: MediaReport | None
    error: FaceblurError | None
    elapsed_s: float


def run(
    jobs: Sequence[Job],
    session: DetectionSession,
    options: RunOptions,
    *,
    on_progress: Callable[[Job, Progress], None] | None = None,
) -> Iterator[Outcome]:
    """Blur files one after the other; one that fails never stops the rest.

    After a server failed, the next file waits until it is back. When it does not come back, the
    files that are left fail with the same error, at once.
    """
    Masker(options.policy.mask)  # An overlay that cannot be read fails before the first file.
    lost: ServerError | None = None
    for job in jobs:
        started = time.monotonic()
        report: MediaReport | None = None
        error: FaceblurError | None = lost
        if lost is None:
            try:
                report = _blur(job, session, options, on_progress)
            except FaceblurError as raised:
                error = raised
        yield Outcome(job, report, error, time.monotonic() - started)
        if lost is None and isinstance(error, ServerError) and job is not jobs[-1]:
            logger.warning("waiting for the server to come back")
            lost = None if session.recovered() else error


def _blur(
    job: Job,
    session: DetectionSession,
    options: RunOptions,
    on_progress: Callable[[Job, Progress], None] | None,
) -> MediaReport:
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {job.output.parent}: {error.strerror}; choose another"
        ) from error
    if job.kind == "image":
        return blur_image(
            job.source,
            job.output,
            detector=session.detector,
            policy=options.policy,
            options=options.image,
            deadline_s=options.deadline_s,
        )
    report_progress = None
    if on_progress is not None:

        def report_progress(progress: Progress) -> None:
            on_progress(job, progress)

    return blur_video(
        job.source,
        job.output,
        detector=session.detector,
        policy=options.policy,
        in_flight=session.in_flight,
        deadline_s=options.deadline_s,
        on_progress=report_progress,
        options=options.video,
    )
