"""Mask a list of files, and say what happened to each."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Final

from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.attempts import Batch, OnProgress
from faceblur.batch.jobs import AnyJob, StoredJob
from faceblur.batch.outcome import Outcome, RunOptions
from faceblur.detection.session import DetectionSession

_POLL_S: Final = 0.2


def run(
    jobs: Sequence[AnyJob],
    finder: DetectionSession | AnnotationFile,
    options: RunOptions,
    *,
    on_progress: OnProgress | None = None,
) -> Generator[Outcome, None, None]:
    """Mask files; one that fails never stops the rest.

    After a server failed, files wait until it is back. When it does not come back, the files
    that are left fail with the same error, at once.

    Returns:
        What happened to each, as soon as it is known; with several workers not in the order of
        the jobs. Close it to break off: whatever is not finished then does not appear.
    """
    batch = Batch(finder, options, jobs, on_progress)
    with batch:
        workers = min(options.workers, len(jobs))
        # A signal must not break into a transfer: threads do not get any.
        if workers <= 1 and not any(isinstance(job, StoredJob) for job in jobs):
            yield from map(batch.attempt, jobs)
        else:
            yield from _parallel(batch, jobs, workers)


def _parallel(batch: Batch, jobs: Sequence[AnyJob], workers: int) -> Iterator[Outcome]:
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
