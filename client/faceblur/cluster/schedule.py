"""Which file is masked next, where, and which are given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

MOST_ATTEMPTS: Final = 3


@dataclass
class Task:
    """A file on its way.

    Attributes:
        number: In the order of the command line.
        size: Of the source, bytes; 0 if nobody knows.
        attempts: How often it was begun.
        avoided: Nodes where it failed.
        alone: It is masked by a worker that does nothing else meanwhile: one has died of it, or
            of what was beside it.
    """

    number: int
    size: int
    attempts: int = 0
    avoided: set[str] = field(default_factory=set)
    alone: bool = False


class Schedule:
    """The files that are left, the largest first, so that none is begun late and waited for.

    Args:
        sizes: Of each file, bytes.
    """

    def __init__(self, sizes: Iterable[int]) -> None:
        tasks = [Task(number, size) for number, size in enumerate(sizes)]
        self._waiting = deque(sorted(tasks, key=lambda task: -task.size))
        self._again: list[Task] = []
        self._running = 0

    @property
    def is_over(self) -> bool:
        """Whether no file is left and none under way."""
        return not (self._waiting or self._again or self._running)

    def take(self, node: str, *, nodes: Iterable[str], idle: bool) -> Task | None:
        """The next file for a worker.

        Args:
            node: Where it is.
            nodes: Where there are workers at all: a file goes back to a node where it has failed
                only if there is no other.
            idle: Whether the worker does nothing else.
        """
        for task in self._again:
            elsewhere = set(nodes) - task.avoided
            if (idle or not task.alone) and (node in elsewhere or not elsewhere):
                self._again.remove(task)
                return self._begun(task)
        return self._begun(self._waiting.popleft()) if self._waiting else None

    def done(self) -> None:
        """A file has been masked, or is given up."""
        self._running -= 1

    def failed(self, task: Task, node: str, *, nodes: Iterable[str], is_certain: bool) -> bool:
        """A file has failed.

        Args:
            task: The file.
            node: Where it failed.
            nodes: Where there are workers.
            is_certain: It would fail in the same way on the same machine.

        Returns:
            Whether it is tried again.
        """
        self._running -= 1
        task.avoided.add(node)
        if task.attempts >= MOST_ATTEMPTS or (is_certain and not set(nodes) - task.avoided):
            return False
        self._again.append(task)
        return True

    def rest(self) -> list[Task]:
        """Give up all that is left."""
        rest = [*self._again, *self._waiting]
        self._again.clear()
        self._waiting.clear()
        return rest

    def _begun(self, task: Task) -> Task:
        task.attempts += 1
        self._running += 1
        return task
