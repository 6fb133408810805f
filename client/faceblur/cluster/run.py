"""Mask files on a cluster: give them to workers, try again elsewhere, and say what happened."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from faceblur.batch.jobs import AnyJob, StoredJob
from faceblur.cluster.connection import ClusterError
from faceblur.cluster.options import ClusterOptions
from faceblur.cluster.pool import Member, Pool
from faceblur.cluster.schedule import MOST_ATTEMPTS, Schedule, Task
from faceblur.cluster.worker import Failure, FileResult, WorkerSetup

logger = logging.getLogger(__name__)

_POLL_S: Final = 0.5
_NO_WORKER_S: Final = 600.0
"""How long no machine may have room for a worker: a cluster may be growing."""


@dataclass(frozen=True)
class Standing:
    """How far a run is.

    Attributes:
        files: That are done, of `of_files`; likewise `size`, bytes, with shares of files.
        workers: That are ready.
    """

    files: int
    of_files: int
    size: float
    of_size: int
    workers: int


OnStanding = Callable[[Standing], None]
OnResult = tuple[AnyJob, FileResult]


def run(
    ray: Any,
    jobs: Sequence[AnyJob],
    setup: WorkerSetup,
    options: ClusterOptions,
    *,
    covered: Collection[bytes] = (),
    on_standing: OnStanding = lambda _: None,
) -> Generator[OnResult, None, None]:
    """Mask files on all machines of a cluster; one that fails never stops the rest.

    Args:
        ray: The module, connected.
        jobs: Under paths that are the same on all machines.
        setup: What workers do.
        options: Which workers there are.
        covered: What has its manifest in the audit.
        on_standing: Called now and then.

    Returns:
        What happened to each, as soon as it is known. Close it to break off: whatever is not
        finished then does not appear.

    Raises:
        ClusterError: No machine has room for a worker.
    """
    sizes = [_size(job) for job in jobs]
    pool = Pool(ray, options, ray.put(setup), ray.put(covered), one_model=setup.reports)
    dispatch = _Dispatch(ray, jobs, sizes, pool, on_standing)
    with contextlib.closing(pool):
        while not dispatch.schedule.is_over:
            for task, result in dispatch.step():
                yield jobs[task.number], result


class _Dispatch:
    """What is under way."""

    def __init__(
        self,
        ray: Any,
        jobs: Sequence[AnyJob],
        sizes: Sequence[int],
        pool: Pool,
        on_standing: OnStanding,
    ) -> None:
        self.schedule = Schedule(sizes)
        self._ray = ray
        self._jobs = jobs
        self._pool = pool
        self._on_standing = on_standing
        self._opening: dict[Any, Member] = {}
        self._running: dict[Any, tuple[Member, Task]] = {}
        self._asking: dict[Any, Member] = {}
        self._shares: dict[Member, float] = {}
        self._asked = self._busy = time.monotonic()
        self._files, self._size, self._total = 0, 0, sum(sizes)

    def step(self) -> list[tuple[Task, FileResult]]:
        """Give files away and wait a little; those that are done, or given up."""
        self._opening.update(self._pool.look())
        self._give()
        refs = [*self._opening, *self._running, *self._asking]
        if self._pool.is_lost and not self._running:
            return self._give_up()
        if not refs:
            self._wait_for_machines()
            return []
        self._busy = time.monotonic()
        done, _ = self._ray.wait(refs, num_returns=1, timeout=_POLL_S)
        if done:
            # What else has come meanwhile, at once.
            done, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        finished = [each for ref in done if (each := self._take(ref)) is not None]
        self._files += len(finished)
        self._size += sum(task.size for task, _ in finished)
        self._stand()
        return finished

    def _give(self) -> None:
        """Give every worker as much as it can do at once, and no more."""
        nodes = self._pool.nodes
        members = sorted(self._pool.members.values(), key=lambda member: len(member.tasks))
        given = True
        while given:
            given = False
            for member in members:
                if not member.has_room:
                    continue
                task = self.schedule.take(member.seat.node, nodes=nodes, idle=not member.tasks)
                if task is None:
                    continue
                member.tasks.append(task)
                ref = member.actor.attempt.remote(self._jobs[task.number])
                self._running[ref] = member, task
                given = True

    def _take(self, ref: Any) -> tuple[Task, FileResult] | None:
        """What has come: None if no file is over by that."""
        try:
            said = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            logger.debug("Ray says: %s", error)
            said = None
        if (member := self._asking.pop(ref, None)) is not None:
            if said is None and not member.tasks:
                self._pool.remove(member)
            self._shares[member] = said or 0.0
            return None
        if (member := self._opening.pop(ref, None)) is not None:
            self._pool.ready(member, said or Failure("its process ended while it came up"))
            return None
        member, task = self._running.pop(ref)
        member.tasks.remove(task)
        if said is None:
            return self._lost(member, task)
        return self._ended(member, task, said)

    def _ended(
        self, member: Member, task: Task, result: FileResult
    ) -> tuple[Task, FileResult] | None:
        node, failure = member.seat.node, result.failure
        if failure is None:
            self._pool.succeeded(member)
            self.schedule.done()
        if failure is not None and failure.is_server:
            member.is_leaving = True
        if member.is_leaving and not member.tasks:
            self._pool.remove(member)
        if failure is not None and self._again(task, node, failure):
            return None
        return task, result

    def _lost(self, member: Member, task: Task) -> tuple[Task, FileResult] | None:
        """A worker has ended under a file."""
        node = member.seat.node
        self._pool.remove(member)
        self._shares.pop(member, None)
        task.alone = True
        failure = Failure(
            f"{self._jobs[task.number].source}: its worker on {self._pool.name(node)} ended while "
            "it was masked; look there for lack of memory"
        )
        if self._again(task, node, failure):
            return None
        return task, FileResult(elapsed_s=0.0, failure=failure)

    def _again(self, task: Task, node: str, failure: Failure) -> bool:
        again = self.schedule.failed(
            task, node, nodes=self._pool.nodes, is_certain=failure.is_certain
        )
        if again:
            tries = f"{task.attempts} of {MOST_ATTEMPTS}"
            logger.info(
                "try %s on %s failed, again: %s", tries, self._pool.name(node), failure.reason
            )
        return again

    def _give_up(self) -> list[tuple[Task, FileResult]]:
        """No worker comes up any more."""
        failure = self._pool.failure or Failure("all workers ended, again and again")
        rest = self.schedule.rest()
        return [(task, FileResult(elapsed_s=0.0, failure=failure)) for task in rest]

    def _wait_for_machines(self) -> None:
        if time.monotonic() - self._busy > _NO_WORKER_S:
            raise ClusterError(
                "no machine of the cluster has CPUs for a worker: add some, or give fewer with "
                "--cpus-per-worker"
            )
        time.sleep(_POLL_S)

    def _stand(self) -> None:
        """Ask the workers how far they are; a large cluster is asked less often."""
        members = [member for member in self._pool.members.values() if member.facts is not None]
        now = time.monotonic()
        if now - self._asked > max(1.0, len(members) / 100) and not self._asking:
            self._asked = now
            self._asking = {member.actor.shares.remote(): member for member in members}
        files = {member: member.tasks for member in members if member.tasks}
        under_way = sum(
            min(self._shares.get(member, 0.0) / len(tasks), 1.0) * sum(task.size for task in tasks)
            for member, tasks in files.items()
        )
        self._on_standing(
            Standing(
                self._files, len(self._jobs), self._size + under_way, self._total, len(members)
            )
        )


def _size(job: AnyJob) -> int:
    if isinstance(job, StoredJob) and job.entry is not None:
        return job.entry.size or 0
    try:
        return job.source.stat().st_size if isinstance(job.source, Path) else 0
    except OSError:
        # It has gone; the worker says so.
        return 0
