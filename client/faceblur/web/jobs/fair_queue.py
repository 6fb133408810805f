"""Whose file is next: everybody in turn, and no photo waits behind what takes long."""

from __future__ import annotations

import threading
from collections import deque

from faceblur.web.jobs.job import WebJob


class FairQueue:
    """Files that wait for one of several workers; safe to use from threads.

    Args:
        workers: How many take files. What takes long never keeps all of them busy, where there are
            several.
    """

    def __init__(self, workers: int) -> None:
        self._most_long = max(1, workers - 1)
        self._long = 0
        self._waiting: dict[str, deque[WebJob]] = {}
        self._closed = False
        self._changed = threading.Condition()

    def put(self, job: WebJob) -> None:
        """Let a file wait for its turn."""
        with self._changed:
            self._waiting.setdefault(job.owner, deque()).append(job)
            self._changed.notify_all()

    def take(self) -> WebJob | None:
        """Wait for the next file; None when the queue was closed."""
        with self._changed:
            while not self._closed:
                job = self._next()
                if job is not None:
                    return job
                self._changed.wait()
        return None

    def withdraw(self, job: WebJob) -> bool:
        """Take back a file that waits; False if it does not wait any more."""
        with self._changed:
            jobs = self._waiting.get(job.owner, deque())
            if job not in jobs:
                return False
            jobs.remove(job)
            if not jobs:
                del self._waiting[job.owner]
            return True

    def finished(self, job: WebJob) -> None:
        """Give back the place that a file took."""
        with self._changed:
            if job.is_long:
                self._long -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Send the workers home."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> WebJob | None:
        for owner, jobs in list(self._waiting.items()):
            for job in jobs:
                if job.is_long and self._long >= self._most_long:
                    continue
                jobs.remove(job)
                # Who was served goes to the end of the row.
                del self._waiting[owner]
                if jobs:
                    self._waiting[owner] = jobs
                if job.is_long:
                    self._long += 1
                return job
        return None
