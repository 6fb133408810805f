"""Mask a list of files, and say what happened to each."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.finished import CachedResult
from faceblur.batch.jobs import Job
from faceblur.batch.memory import MemoryBudget, memory_bytes
from faceblur.batch.processing import Detecting, Masking, MaskingOptions, OnProgress, Replaying
from faceblur.batch.records import Record, Records
from faceblur.batch.shared_detector import check_going
from faceblur.detection.session import DetectionSession
from faceblur.detections import MediaDetections
from faceblur.errors import FaceblurError, OutputError, ServerError, exhaustion
from faceblur.masks.masker import Masker
from faceblur.proof.audit.log import AuditLog

logger = logging.getLogger(__name__)

_POLL_S: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class RunOptions(MaskingOptions):
    """How a list of files is masked.

    Attributes:
        workers: Files that are masked at the same time, at most.
        again: Mask files too whose results are finished.
        audit: Where the manifest of each result goes; None for nowhere.
    """

    workers: int = 1
    again: bool = False
    audit: AuditLog | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened to one file.

    Attributes:
        job: The file.
        elapsed_s: Seconds it took.
        report: What was found in it; None when it was not masked in this run.
        finished: The note of its result, when that was finished before this run.
        error: Why it failed; None when it did not.
    """

    job: Job
    elapsed_s: float
    report: MediaDetections | None = None
    finished: CachedResult | None = None
    error: FaceblurError | None = None

    @property
    def faces(self) -> int:
        """Masked faces in all frames."""
        if self.report is not None:
            return sum(len(frame.detections) for frame in self.report.frames)
        return self.finished.faces if self.finished is not None else 0

    @property
    def frames(self) -> int:
        """Checked frames."""
        if self.report is not None:
            return len(self.report.frames)
        return self.finished.frames if self.finished is not None else 0


def run(
    jobs: Sequence[Job],
    finder: DetectionSession | AnnotationFile,
    options: RunOptions,
    *,
    on_progress: OnProgress | None = None,
) -> Generator[Outcome, None, None]:
    """Mask files; one that fails never stops the rest.

    After a server failed, files wait until it is back. When it does not come back, the files
    that are left fail with the same error, at once.

    Args:
        jobs: The files.
        finder: What finds the faces, or a list of them.
        options: How.
        on_progress: Called after each frame of a video; with several workers, in their threads.

    Returns:
        What happened to each, as soon as it is known; with several workers not in the order of
        the jobs. Close it to break off: whatever is not finished then does not appear.

    Raises:
        InputError: The overlay picture cannot be read.
    """
    Masker(options.policy.mask)  # An overlay that cannot be read fails before the first file.
    stop = threading.Event()
    masking: Masking
    if isinstance(finder, AnnotationFile):
        masking = Replaying(finder, options, stop)
    else:
        masking = Detecting(finder, options, stop)
    with Records(
        jobs, finder=masking.finder, settings=masking.settings(), audit=options.audit
    ) as records:
        batch = _Batch(masking, options, records, on_progress, stop)
        workers = min(options.workers, len(jobs))
        if workers <= 1:
            yield from map(batch.attempt, jobs)
        else:
            yield from _parallel(batch, jobs, workers)


def _parallel(batch: _Batch, jobs: Sequence[Job], workers: int) -> Iterator[Outcome]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="faceblur-file")
    try:
        pending = {pool.submit(batch.attempt, job) for job in jobs}
        while pending:
            # A signal that another thread happens to receive does not wake this one.
            done, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        batch.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


class _Batch:
    """Files that are masked in one way.

    Attributes:
        stop: When it is set, every file fails at its next frame.
    """

    def __init__(
        self,
        masking: Masking,
        options: RunOptions,
        records: Records,
        on_progress: OnProgress | None,
        stop: threading.Event,
    ) -> None:
        self.stop = stop
        self._masking = masking
        self._options = options
        self._records = records
        self._on_progress = on_progress
        self._budget = MemoryBudget()
        self._recovering = threading.Lock()
        self._broken: ServerError | None = None
        self._lost: ServerError | None = None

    def attempt(self, job: Job) -> Outcome:
        """Mask one file, or find that it is finished."""
        self._await_server()
        started = time.monotonic()

        def outcome(**what: Any) -> Outcome:
            return Outcome(job=job, elapsed_s=time.monotonic() - started, **what)

        try:
            check_going(self.stop)
            record = self._records.begin(job)
            if record is not None and not self._options.again:
                finished = record.finished()
                if finished is not None:
                    return outcome(finished=finished)
            if self._lost is not None:
                return outcome(error=self._lost)
            with self._room(job):
                started = time.monotonic()
                return outcome(report=self._mask(job, record))
        except ServerError as error:
            self._broken = error
            return outcome(error=error)
        except FaceblurError as error:
            return outcome(error=error)
        except (OSError, MemoryError, RuntimeError) as error:
            sentence = exhaustion(error)
            if sentence is None:
                raise
            return outcome(error=FaceblurError(f"cannot mask {job.source}: {sentence}"))

    def _mask(self, job: Job, record: Record | None) -> MediaDetections:
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the folder {job.output.parent}: {error.strerror}; choose another"
            ) from error
        report = self._masking.mask(
            job,
            on_progress=self._on_progress,
            on_complete=None if record is None else record.seal,
        )
        if record is not None:
            record.note()
        return report

    def _room(self, job: Job) -> AbstractContextManager[None]:
        """Memory for a file; one after the other, each may take what it needs."""
        if self._options.workers <= 1:
            return nullcontext()
        return self._budget.room_for(memory_bytes(job))

    def _await_server(self) -> None:
        """After a file failed for the server's sake: wait until it is back, or lost for good."""
        with self._recovering:
            if self._broken is None or self._lost is not None:
                return
            logger.warning("waiting for the server to come back")
            with self._masking.paused():
                recovered = self._masking.recovered()
            self._lost = None if recovered else self._broken
            self._broken = None
