"""Threads that mask what waits, with the code of the command, check it, and write it to stores."""

from __future__ import annotations

import logging
import threading
from typing import Final

from faceblur.batch.memory import BUDGET_BYTES, MemoryBudget, memory_bytes
from faceblur.batch.shared_detector import StoppedError
from faceblur.errors import FaceblurError, ServerError, exhaustion
from faceblur.masks.policy import Policy
from faceblur.web.jobs.delivering import deliver
from faceblur.web.jobs.detectors import Detectors
from faceblur.web.jobs.job import CANCELLED, WebJob
from faceblur.web.jobs.reasons import on_page
from faceblur.web.jobs.rendering import plan_of, renamed, render
from faceblur.web.jobs.store import JobStore

logger = logging.getLogger(__name__)

_SMALL_BYTES: Final = 512 << 20
"""For files that are not long, of all memory."""

_UNEXPECTED: Final = "something went wrong that should not; nothing was saved"


class Workers:
    """Works until it is closed; a context manager.

    Args:
        store: Where the files are that wait.
        count: Files that are masked at the same time.
    """

    def __init__(
        self, store: JobStore, detectors: Detectors, policy: Policy, *, count: int
    ) -> None:
        self._store = store
        self._queue = store.queue
        self._detectors = detectors
        self._policy = policy
        # What takes little has a part of its own, so that it waits for nothing large.
        self._budgets = {
            True: MemoryBudget(BUDGET_BYTES - _SMALL_BYTES),
            False: MemoryBudget(_SMALL_BYTES),
        }
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
        self._store.changed()
        # A server is ended with the thread that has started it.
        self._stop.wait()

    def _work(self) -> None:
        while (job := self._queue.take()) is not None:
            try:
                sentence = self._made(job)
                if sentence is None:
                    deliver(job, on_change=self._store.changed)
            except Exception:
                # One file must not end the thread that the others wait for.
                logger.exception("cannot mask a file")
                sentence = _UNEXPECTED
            finally:
                self._queue.finished(job)
            self._store.settle(job, sentence)
            # Who waits for the next one holds nothing of this, which may show faces.
            del job

    def _made(self, job: WebJob) -> str | None:
        """Make the result that is wanted unless it is there, or say why there is none."""
        if job.is_made:
            return None
        size_bytes = 0 if job.source is None else memory_bytes(plan_of(job))
        with self._budgets[job.is_long].room_for(size_bytes):
            return self._attempt(job)

    def _attempt(self, job: WebJob, *, is_last: bool = False) -> str | None:
        """Make a result, or say why there is none.

        A detector that is lost and started again is no reason, the first time.
        """
        try:
            job.check_going()
            session = self._detectors.session(job.kind, stop=job.stop)
            self._store.changed()
            job.check_going()
            result = render(job, session, self._policy, on_change=self._store.changed)
            job.results.add(result)
        except StoppedError:
            return CANCELLED
        except ServerError as error:
            if self._detectors.failed(job.kind, error) and not is_last:
                job.begin_again()
                self._store.changed()
                return self._attempt(job, is_last=True)
            return renamed(str(error), job)
        except FaceblurError as error:
            return renamed(str(error), job)
        except (OSError, MemoryError, RuntimeError) as error:
            sentence = exhaustion(error)
            if sentence is None:
                raise
            return on_page(sentence)
        return None
