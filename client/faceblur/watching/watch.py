"""Mask what arrives in a place, until told to stop."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from faceblur.batch.attempts import Batch
from faceblur.batch.found import Found, Place
from faceblur.batch.jobs import AnyJob, StoredJob, job_of
from faceblur.batch.outcome import Outcome, RunOptions
from faceblur.batch.result_names import Target
from faceblur.detection.session import DetectionSession
from faceblur.errors import FaceblurError, InputError, ServerError
from faceblur.stores.address import Address
from faceblur.stores.faults import is_lasting
from faceblur.stores.fsspec_store import store_of
from faceblur.watching.arrivals import Arrivals, source_of
from faceblur.watching.status import WatchStatus
from faceblur.watching.wakes import Wakes

logger = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 5.0
"""Until the second attempt at a file, where another may succeed; twice that until the third."""

LONGEST_PAUSE_S: Final = 300.0
_SHORTEST_TURN_S: Final = 0.1
_MOST_FAILURES: Final = 20
_UNEXPECTED: Final = "something went wrong that should not; nothing was written"


@dataclass(frozen=True, kw_only=True)
class WatchOptions:
    """How a place is watched.

    Attributes:
        every_s: Seconds between two looks at it, where nothing tells of changes before.
        settle_s: Seconds for which a file must stay as it is before it counts as whole.
    """

    every_s: float = 5.0
    settle_s: float = 2.0


@dataclass
class _Wanted:
    """A file that is to be masked."""

    item: Found
    since_s: float
    due_s: float
    attempts: int = 0


class Watch:
    """Masks the files of a place as they arrive; what is finished is known by its content.

    Args:
        place: The folder, or the address of one.
        target: Where the results go.
        session: What finds the faces. It is not closed with this object.
    """

    def __init__(
        self,
        place: Place,
        target: Target,
        session: DetectionSession,
        run: RunOptions,
        options: WatchOptions,
    ) -> None:
        self._place = place
        self._target = target
        self._session = session
        self._run = run
        self._options = options
        self._arrivals = Arrivals(source_of(place), target, settle_s=options.settle_s)
        self._stop = threading.Event()
        self._wakes = Wakes(place if isinstance(place, Path) else None)
        self._wanted: dict[Place, _Wanted] = {}
        self._working: dict[Future[Outcome], _Wanted] = {}
        self._outputs: dict[Place, Place] = {}
        self._started_s = self._turned_s = time.monotonic()
        self._counts = dict.fromkeys(("masked", "finished", "failed", "faces", "frames"), 0)
        self._failures: dict[Place, str] = {}
        self._source_failure = self._detector_failure = ""
        self._looked = False

    def stop(self) -> None:
        """Have `run` end, with nothing half done; from any thread."""
        self._stop.set()
        self._wakes.wake()

    def reload(self) -> None:
        """Have `run` look at once; from any thread."""
        self._wakes.wake()

    def run(self) -> None:
        """Mask what is there and what arrives, until told to stop.

        Raises:
            FaceblurError: The place cannot be listed from the beginning.
        """
        if hasattr(signal, "SIGIO") and threading.current_thread() is threading.main_thread():
            # Somebody opens a file while we ask whether anybody writes it.
            signal.signal(signal.SIGIO, signal.SIG_IGN)
        pool = ThreadPoolExecutor(self._run.workers, thread_name_prefix="faceblur-file")
        with self._wakes, Batch(self._session, self._run) as batch:
            try:
                while not self._stop.is_set():
                    self._turn(batch, pool)
                    self._wakes.wait(self._pause_s())
            finally:
                batch.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)

    def status(self) -> WatchStatus:
        """How it is, from any thread."""
        now_s = time.monotonic()
        waiting = [each.since_s for each in tuple(self._wanted.values())]
        failures = list(self._failures.items())[-_MOST_FAILURES:]
        return WatchStatus(
            version=importlib.metadata.version("faceblur-triton"),
            source=str(self._place),
            uptime_s=now_s - self._started_s,
            loop_age_s=now_s - self._turned_s,
            detector=f"{self._session.model.name} model, {self._session.where}",
            detector_failure=self._detector_failure,
            source_failure=self._source_failure,
            settling=self._arrivals.settling,
            queued=len(waiting),
            working=len(self._working),
            oldest_s=now_s - min(waiting, default=now_s),
            failures={str(place): why for place, why in failures},
            **self._counts,
        )

    def _turn(self, batch: Batch, pool: ThreadPoolExecutor) -> None:
        """Look once, take what is done, and begin what can be begun."""
        self._turned_s = now_s = time.monotonic()
        for future in [future for future in self._working if future.done()]:
            self._take(self._working.pop(future), future.result(), batch)
        try:
            for item in self._arrivals.look():
                self._wanted[item.path] = _Wanted(item, now_s, now_s)
            for place in [place for place in self._failures if not self._arrivals.has(place)]:
                del self._failures[place]  # Nothing of it is left to mask.
            if self._source_failure:
                logger.info("%s can be listed again", self._place)
            self._source_failure = ""
            self._looked = True
        except FaceblurError as error:
            if not self._looked:
                raise
            if str(error) != self._source_failure:
                logger.warning("%s", error)
            self._source_failure = str(error)
        busy = {wanted.item.path for wanted in self._working.values()}
        for place, wanted in list(self._wanted.items()):
            room = self._run.workers - len(self._working)
            if room > 0 and wanted.due_s <= now_s and place not in busy:
                del self._wanted[place]
                future = pool.submit(self._attempt, batch, wanted.item)
                self._working[future] = wanted
                future.add_done_callback(lambda _: self._wakes.wake())

    def _attempt(self, batch: Batch, item: Found) -> Outcome:
        """Mask a file, if its result has a name that is its own."""
        job = job_of(item, self._target, single=False)
        other = self._outputs.setdefault(job.output, item.path)
        if other != item.path:
            return Outcome(
                job=job,
                elapsed_s=0.0,
                error=InputError(
                    f"{other} and {item.path} would both become {job.output}; rename one"
                ),
            )
        try:
            return batch.attempt(_with_present(job))
        except FaceblurError as error:
            return Outcome(job=job, elapsed_s=0.0, error=error)
        except Exception:
            # Whatever is in a file, those after it are masked.
            logger.exception("%s", item.path)
            return Outcome(job=job, elapsed_s=0.0, error=InputError(_UNEXPECTED))

    def _take(self, wanted: _Wanted, outcome: Outcome, batch: Batch) -> None:
        """Note what has become of a file, and whether it is to be tried again."""
        name, error = str(wanted.item.path), outcome.error
        if not isinstance(error, ServerError):
            self._detector_failure = "" if error is None else self._detector_failure
        if error is None:
            self._failures.pop(wanted.item.path, None)
            self._counts["masked" if outcome.finished is None else "finished"] += 1
            if outcome.finished is None:
                self._counts["faces"] += outcome.faces
                self._counts["frames"] += outcome.frames
                logger.info(
                    "%s: %d faces masked in %d frames, %.1f s",
                    *(outcome.job.output, outcome.faces, outcome.frames, outcome.elapsed_s),
                )
            return
        self._counts["failed"] += 1
        self._failures[wanted.item.path] = str(error)
        logger.error("%s%s", "" if name in str(error) else f"{name}: ", error)
        if isinstance(error, ServerError):
            self._detector_failure = str(error)
            batch.wait_again()
        elif is_lasting(error):
            return  # Until it changes, it stays so.
        if self._arrivals.is_current(wanted.item.path):
            pause_s = min(FIRST_PAUSE_S * 2**wanted.attempts, LONGEST_PAUSE_S)
            due_s = time.monotonic() + pause_s
            self._wanted.setdefault(
                wanted.item.path,
                dataclasses.replace(wanted, due_s=due_s, attempts=wanted.attempts + 1),
            )

    def _pause_s(self) -> float:
        """How long nothing is to be done, if nothing happens."""
        now_s = time.monotonic()
        pauses = [self._options.every_s]
        if (due_s := self._arrivals.due_s()) is not None:
            pauses.append(due_s)
        if len(self._working) < self._run.workers:
            pauses += [wanted.due_s - now_s for wanted in self._wanted.values()]
        return max(_SHORTEST_TURN_S, min(pauses))


def _with_present(job: AnyJob) -> AnyJob:
    """A job with what is there under the name of its result."""
    if not isinstance(job, StoredJob) or not isinstance(job.output, Address):
        return job
    return dataclasses.replace(job, present=store_of(job.output).find(job.output))
