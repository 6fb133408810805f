"""Threads that mask what waits, with the code of the command, and check each result."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from faceblur.batch.jobs import Job
from faceblur.batch.memory import MemoryBudget, memory_bytes
from faceblur.batch.runner import Outcome, RunOptions, run
from faceblur.batch.shared_detector import StoppedError
from faceblur.batch.video import Progress
from faceblur.detection.session import DetectionSession
from faceblur.errors import FaceblurError, ServerError, exhaustion
from faceblur.masks.policy import Policy
from faceblur.proof.verify.verification import verify
from faceblur.video.kinds import result_name
from faceblur.web.detectors import Detectors
from faceblur.web.fair_queue import FairQueue
from faceblur.web.folder import remove
from faceblur.web.jobs import Verdict, WebJob

logger = logging.getLogger(__name__)

_UNEXPECTED: Final = "something went wrong that should not; nothing was saved"


class Workers:
    """Works until it is closed; a context manager.

    Args:
        on_change: Called from any thread when something about a file has changed.
    """

    def __init__(
        self,
        queue: FairQueue,
        detectors: Detectors,
        policy: Policy,
        *,
        count: int,
        on_change: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._detectors = detectors
        self._options = RunOptions(policy=policy)
        self._on_change = on_change
        self._budget = MemoryBudget()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"faceblur-web-{number}")
            for number in range(count)
        ]
        # The page is there at once, and the detector when the first file comes.
        self._threads.append(threading.Thread(target=self._warm_up, name="faceblur-web-open"))

    def __enter__(self) -> Workers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._queue.close()
        for thread in self._threads:
            thread.join()

    def _warm_up(self) -> None:
        try:
            self._detectors.session("image", stop=self._stop)
        except FaceblurError as error:
            logger.error("%s", error)
        self._on_change()
        # A server is ended with the thread that has started it.
        self._stop.wait()

    def _work(self) -> None:
        while (job := self._queue.take()) is not None:
            try:
                with self._budget.room_for(0 if job.source is None else memory_bytes(_plan(job))):
                    self._attempt(job)
            except Exception:
                # One file must not end the thread that the others wait for.
                logger.exception("cannot mask a file")
                job.fail(_UNEXPECTED)
            finally:
                self._tidy(job)
                self._queue.finished(job)
                self._on_change()

    def _attempt(self, job: WebJob) -> None:
        try:
            job.check_going()
            session = self._detectors.session(job.kind, stop=job.stop)
            self._on_change()
            job.check_going()
            self._mask(job, session)
        except StoppedError:
            job.fail("cancelled")
        except ServerError as error:
            self._detectors.failed(job.kind, error)
            job.fail(self._plainly(job, error))
        except FaceblurError as error:
            job.fail(self._plainly(job, error))
        except (OSError, MemoryError, RuntimeError) as error:
            sentence = exhaustion(error)
            if sentence is None:
                raise
            job.fail(sentence)

    def _mask(self, job: WebJob, session: DetectionSession) -> None:
        plan = _plan(job)
        job.start()

        def on_masked(_: Job, progress: Progress) -> None:
            job.check_going()
            job.fraction = _share(progress.done, progress.total)
            self._on_change()

        def on_checked(done: int, total: int | None) -> None:
            job.check_going()
            job.fraction = _share(done, total)
            self._on_change()

        outcomes = list(run([plan], session, self._options, on_progress=on_masked))
        report = _report_of(outcomes[0])
        job.check_going()
        job.state, job.fraction = "checking", 0.0
        self._on_change()
        policy = self._options.policy
        verified = verify(
            plan.output,
            source=plan.source,
            detector=session.detector,
            how=policy.detection,
            in_flight=session.in_flight,
            on_progress=on_checked,
        )
        # Nothing is offered before this line.
        job.frames, job.faces = report
        verdict = Verdict.of(verified)
        job.verdict = dataclasses.replace(
            verdict, problems=tuple(_renamed(text, job) for text in verdict.problems)
        )
        job.output = plan.output

    def _plainly(self, job: WebJob, error: FaceblurError) -> str:
        return _renamed(str(error), job)

    def _tidy(self, job: WebJob) -> None:
        """Keep the masked result alone, or nothing; only then say that it is done."""
        if job.source is not None:
            with suppress(OSError):
                job.source.unlink(missing_ok=True)
            job.source = None
        if job.output is None or job.stop.is_set() or job.error is not None:
            job.output = None
            remove(job.folder)
            if job.error is None:
                job.fail("cancelled")
        else:
            job.end("done")


def _plan(job: WebJob) -> Job:
    """The file as the command sees it; its names here are ours."""
    assert job.source is not None
    named = result_name(job.source, job.kind)
    return Job(job.source, job.folder / f"masked{named[named.rindex('.') :]}", job.kind)


def _report_of(outcome: Outcome) -> tuple[int, int]:
    """Frames, and covered faces: of a video, those that were followed."""
    if outcome.error is not None:
        raise outcome.error
    assert outcome.report is not None
    tracks = outcome.report.tracks
    return outcome.frames, len(tracks) if outcome.job.kind == "video" else outcome.faces


def _renamed(text: str, job: WebJob) -> str:
    """A sentence with the name that the user knows in place of a path of ours."""
    if job.source is not None:
        text = text.replace(str(_plan(job).output), "the result").replace(str(job.source), job.name)
    return text.replace(str(job.folder), "the private folder")


def _share(done: int, total: int | None) -> float | None:
    return None if not total else done / total
