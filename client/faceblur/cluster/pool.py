"""The workers of a run: started on every machine of the cluster, and replaced when they end."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from faceblur.batch.memory import MAX_WORKERS
from faceblur.cluster.options import ClusterOptions, Share, shares_of
from faceblur.cluster.schedule import Task
from faceblur.cluster.worker import Failure, Worker, WorkerFacts
from faceblur.detection.detector import ModelInfo

logger = logging.getLogger(__name__)

MOST_STARTS: Final = 3
"""Of one place in a row, without a file that was masked in between."""

LOOK_S: Final = 2.0
"""How often the machines of the cluster are listed."""

_CLOSE_S: Final = 10.0

_OTHER_MODEL: Final = (
    "its model is not that of the others, and a list of faces is of one: name the same for all "
    "with --model"
)


@dataclass(frozen=True)
class Seat:
    """A place for one worker on a machine; `cores` are its own, None for all."""

    node: str
    number: int
    share: Share
    cores: slice | None = field(compare=False)


@dataclass(eq=False)
class Member:
    """A worker in its place.

    Attributes:
        actor: Ray's handle of its process.
        facts: What it said when it was ready; None before.
        tasks: What it masks.
        is_leaving: It gets no more files.
    """

    seat: Seat
    actor: Any
    facts: WorkerFacts | None = None
    tasks: list[Task] = field(default_factory=list)
    is_leaving: bool = False

    @property
    def has_room(self) -> bool:
        """Whether it can take one more file."""
        if self.facts is None or self.is_leaving or any(task.alone for task in self.tasks):
            return False
        return len(self.tasks) < self.facts.files


class Pool:
    """Workers on all machines of a cluster, also on those that come later.

    Args:
        ray: The module, connected.
        options: Which workers there are.
        setup: Reference of the `WorkerSetup`.
        covered: Reference of what the audit has.
        one_model: Whether all workers must find faces with the same model: that of the first.

    Attributes:
        members: Those that are there or are coming up.
        failure: Why the last worker failed that did.
    """

    def __init__(
        self,
        ray: Any,
        options: ClusterOptions,
        setup: Any,
        covered: Any,
        *,
        one_model: bool = False,
    ) -> None:
        self._ray = ray
        self._options = options
        self._given = setup, covered
        self._one_model = one_model
        self._model: ModelInfo | None = None
        self._names: dict[str, str] = {}
        self._seats: list[Seat] = []
        self._starts: Counter[Seat] = Counter()
        self._looked = float("-inf")
        self.members: dict[Seat, Member] = {}
        self.failure: Failure | None = None

    @property
    def nodes(self) -> set[str]:
        """Where workers are ready or coming up."""
        return {seat.node for seat, member in self.members.items() if not member.is_leaving}

    @property
    def is_lost(self) -> bool:
        """Whether there are places, and no worker stays in any."""
        return bool(self._seats) and not self.members and not self._free()

    @property
    def is_empty(self) -> bool:
        """Whether no machine has room for a worker."""
        return not self._seats

    def look(self) -> dict[Any, Member]:
        """Start workers where there are none.

        Returns:
            Those that come up, by the references of what they will say.
        """
        now = time.monotonic()
        if now - self._looked >= LOOK_S:
            self._looked = now
            self._seats = list(self._found())
            for seat in self.members.keys() - set(self._seats):
                # Its machine has gone. What it did there comes back as an error.
                self.members.pop(seat)
        opening = {}
        for seat in self._free():
            self._starts[seat] += 1
            member = self._start(seat)
            self.members[seat] = member
            opening[member.actor.open.remote(*self._given, seat.cores)] = member
        return opening

    def ready(self, member: Member, said: WorkerFacts | Failure) -> None:
        """A worker has said whether it can work."""
        if isinstance(said, WorkerFacts) and self._one_model:
            self._model = self._model or said.model
            if said.model != self._model:
                said = Failure(_OTHER_MODEL, is_certain=True)
        if isinstance(said, Failure):
            self.failure = said
            logger.warning("no worker on %s: %s", self.name(member.seat.node), said.reason)
            if said.is_certain:
                self._starts[member.seat] = MOST_STARTS
            self.remove(member)
            return
        member.facts = said
        where = self.name(member.seat.node)
        logger.info("a worker on %s, process %d: %s", where, said.pid, said.detector)

    def succeeded(self, member: Member) -> None:
        """A worker has masked a file: its place is good."""
        self._starts[member.seat] = 0

    def remove(self, member: Member) -> None:
        """End a worker; another takes its place."""
        if self.members.get(member.seat) is member:
            del self.members[member.seat]
        with contextlib.suppress(Exception):
            self._ray.kill(member.actor)

    def close(self) -> None:
        """Let all workers end: break off what they do, and stop their detectors."""
        closing = []
        with contextlib.suppress(Exception):
            closing = [member.actor.close.remote() for member in self.members.values()]
            self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_S)
        for member in list(self.members.values()):
            self.remove(member)

    def name(self, node: str) -> str:
        """The address of a machine."""
        return self._names.get(node, node[:12])

    def _free(self) -> list[Seat]:
        seats = [seat for seat in self._seats if seat not in self.members]
        return [seat for seat in seats if self._starts[seat] < MOST_STARTS]

    def _found(self) -> Iterator[Seat]:
        for node in self._ray.nodes():
            if not node["Alive"]:
                continue
            name, has = node["NodeID"], node["Resources"]
            self._names[name] = node["NodeManagerAddress"]
            shares = shares_of(has.get("CPU", 0.0), has.get("GPU", 0.0), self._options)
            for number, share in enumerate(shares):
                cores = int(share.cpus)
                own = slice(number * cores, (number + 1) * cores)
                whole = self._options.cpus_per_worker is None or share.gpus > 0
                yield Seat(name, number, share, None if whole else own)

    def _start(self, seat: Seat) -> Member:
        here = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            node_id=seat.node, soft=False
        )
        actor = self._ray.remote(Worker).options(
            num_cpus=seat.share.cpus,
            num_gpus=seat.share.gpus,
            scheduling_strategy=here,
            # Those, how far they are, and the end.
            max_concurrency=(self._options.files_per_worker or MAX_WORKERS) + 2,
            max_restarts=0,
            max_task_retries=0,
        )
        return Member(seat, actor.remote())
