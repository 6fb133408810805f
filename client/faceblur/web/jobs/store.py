"""The files of all visitors: who may see which, how many there may be, and when they go."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from faceblur.batch.private_folder import remove
from faceblur.errors import InputError
from faceblur.web.jobs.destinations import Delivery, Destination
from faceblur.web.jobs.edits import Edits
from faceblur.web.jobs.fair_queue import FairQueue
from faceblur.web.jobs.frame_cache import FrameCache
from faceblur.web.jobs.job import CANCELLED, FINAL, Submission, WebJob, shown_name
from faceblur.web.options import WebOptions

_ID_BYTES: Final = 16


class FullError(Exception):
    """There are as many files as one visitor may have."""


class JobStore:
    """Keeps the files; safe to use from threads.

    Attributes:
        version: Grows with every change that a page may show.
        queue: Where files wait for their turn.
        on_settled: Called with a file whenever it has come to its end; must return at once.
    """

    def __init__(self, folder: Path, options: WebOptions, queue: FairQueue) -> None:
        self._folder = folder
        self._options = options
        self._jobs: dict[str, WebJob] = {}
        self._pages: dict[str, int] = {}
        self._left_s: dict[str, float] = {}
        self._lock = threading.RLock()
        self.queue = queue
        self.on_settled: Callable[[WebJob], None] = lambda _: None
        self.version = 0

    def changed(self) -> None:
        """Note that something about a file has changed."""
        with self._lock:
            self.version += 1

    def begin(self, owner: str, submission: Submission) -> WebJob:
        """Make room for a file that is about to come.

        Raises:
            FullError: There are too many.
            OSError: Its folder cannot be made.
        """
        with self._lock:
            if len(self.of(owner)) >= self._options.limits.jobs:
                raise FullError
            number = secrets.token_urlsafe(_ID_BYTES)
            folder = self._folder / number
            folder.mkdir(mode=0o700)
            name = shown_name(submission.name)
            job = WebJob(id=number, owner=owner, name=name, folder=folder, submission=submission)
            job.wanted = submission.edits
            if submission.destination is not None:
                job.delivery = Delivery(destination=submission.destination)
            self._jobs[number] = job
            self.changed()
            return job

    def submit(self, job: WebJob) -> bool:
        """Let a file that has come wait for its turn; False if it was deleted meanwhile."""
        with self._lock:
            if job.deleted:
                return False
            job.state = "waiting"
            self.queue.put(job)
            self.changed()
            return True

    def edit(self, job: WebJob, edits: Edits) -> None:
        """Let the result count that is made from these wishes, once it is made.

        Raises:
            InputError: They are not for this file, or it has no result now.
            FullError: The disk has no room for another result.
        """
        with self._lock:
            if job.deleted or job.result is None or job.findings is None:
                raise InputError("this file cannot be changed now")
            found = job.findings
            edits.check(found.report, chooses=found.chooses, sounds=found.sounds)
            edits = edits.in_style(self._options.policy.mask)
            job.notice = None
            if job.result.edits == edits:
                return
            made = job.results.find(edits)
            if made is not None:
                job.results.add(made)
                self._await_delivery(job)
            else:
                size = job.result.output.stat().st_size
                if shutil.disk_usage(job.folder).free < size + self._options.limits.spare_bytes:
                    raise FullError
                self._await(job, edits)
            self.changed()

    def step(self, job: WebJob, by: int) -> bool:
        """Go back to an earlier result, or on to a later one; False if there is none."""
        with self._lock:
            if job.result is None or not job.results.step(by):
                return False
            job.notice = None
            self._await_delivery(job)
            self.changed()
            return True

    def deliver(self, job: WebJob, destination: Destination) -> None:
        """Let the result that counts, and those after it, be written somewhere.

        Raises:
            InputError: There is no result now.
        """
        with self._lock:
            if job.deleted or job.result is None:
                raise InputError("this file has no result now")
            before = job.delivery
            if before is not None and before.destination.address == destination.address:
                job.delivery = replace(before, destination=destination, error=None)
            else:
                job.delivery = Delivery(destination=destination)
            self._await_delivery(job)
            self.changed()

    def _await_delivery(self, job: WebJob) -> None:
        """Let a result that is there already wait to be written where it is wanted, if it is."""
        current = job.results.current
        if job.delivery is not None and current is not None:
            self._await(job, current.edits)

    def _await(self, job: WebJob, edits: Edits) -> None:
        """Let a file that was finished wait for its turn once more."""
        job.wanted, job.stop = edits, threading.Event()
        job.state, job.ended_s, job.started_s = "waiting", None, None
        self.queue.put(job)

    def settle(self, job: WebJob, sentence: str | None) -> None:
        """End what was done with a file, and keep what its user may still need.

        A result stays, with the original that others are made from; and so does the result before
        if there is no new one.

        Args:
            job: Nobody works on it any more.
            sentence: Why there is no new result; None if there is one.
        """
        with self._lock:
            job.made = None
            if job.deleted or job.results.current is None:
                job.findings = job.people = job.source = None
                job.frames = FrameCache()
                remove(job.folder)
                job.error = sentence or CANCELLED
                job.end("failed")
            else:
                if sentence is not None and job.delivery is not None and job.is_made:
                    # It was to be written, and that was not even begun.
                    job.delivery = replace(job.delivery, error=sentence)
                job.notice = sentence
                job.end("done")
            self.changed()
            if not job.deleted:
                self.on_settled(job)

    def of(self, owner: str) -> list[WebJob]:
        """The files of a visitor, the first one first."""
        with self._lock:
            return [job for job in self._jobs.values() if job.owner == owner]

    def find(self, owner: str, number: str) -> WebJob | None:
        """A file, if it is this visitor's."""
        job = self._jobs.get(number)
        return job if job is not None and job.owner == owner else None

    def find_by_key(self, owner: str, key: str) -> WebJob | None:
        """The file of a visitor that was sent with an idempotency key."""
        return next((job for job in self.of(owner) if job.submission.key == key), None)

    def delete(self, job: WebJob) -> None:
        """Break a file off and delete what there is of it.

        Whoever works on it stops at the next frame, and then deletes it.
        """
        with self._lock:
            self._jobs.pop(job.id, None)
            job.deleted = True
            job.stop.set()
            if job.state in FINAL or job.state == "uploading" or self.queue.withdraw(job):
                remove(job.folder)
            self.changed()

    def cancel(self, job: WebJob) -> None:
        """Break a file off, and keep its card."""
        with self._lock:
            job.stop.set()
            if self.queue.withdraw(job):
                self.settle(job, CANCELLED)
            self.changed()

    def page_opened(self, owner: str) -> None:
        """A page of a visitor is shown."""
        with self._lock:
            self._pages[owner] = self._pages.get(owner, 0) + 1
            self._left_s.pop(owner, None)

    def page_closed(self, owner: str) -> None:
        """A page of a visitor is gone; when it was the last one, so will be the files."""
        with self._lock:
            self._pages[owner] -= 1
            if not self._pages[owner]:
                self._left_s[owner] = time.monotonic()

    def sweep(self) -> None:
        """Delete what has been kept long enough, and what nobody looks at any more."""
        now_s = time.monotonic()
        with self._lock:
            gone = {
                owner
                for owner, left_s in self._left_s.items()
                if now_s - left_s > self._options.leave_s
            }
            for job in list(self._jobs.values()):
                old = job.ended_s is not None and now_s - job.ended_s > self._options.keep_s
                if old or job.owner in gone:
                    self.delete(job)
            for owner in gone:
                del self._left_s[owner]

    def close(self) -> None:
        """Break everything off."""
        with self._lock:
            for job in list(self._jobs.values()):
                self.delete(job)

    def to_json(self, owner: str) -> list[dict[str, Any]]:
        """The files of a visitor, for the page."""
        return [job.to_json() for job in self.of(owner)]
