"""A queue between two threads of one job that either both finish or both stop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Lane(Generic[Item]):
    """Hands items from one thread to another, in order, a few at a time.

    When something goes wrong on either side, `stop` makes both sides raise what it was, at
    once; neither is left waiting for the other.
    """

    def __init__(self, capacity: float) -> None:
        """Make an empty lane in which `put` waits while what is there weighs so much."""
        self._capacity = capacity
        self._load = 0.0
        self._items: deque[tuple[Item, float]] = deque()
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: Item, *, weight: float = 1.0) -> None:
        """Hand over an item, when there is room."""
        with self._changed:
            while self._error is None and self._load >= self._capacity:
                self._changed.wait()
            self._check()
            self._items.append((item, weight))
            self._load += weight
            self._changed.notify_all()

    def close(self) -> None:
        """Say that no more items come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stop(self, error: BaseException) -> None:
        """Make both sides raise an error; the first one given counts."""
        with self._changed:
            self._error = self._error or error
            self._items.clear()
            self._changed.notify_all()

    def check(self) -> None:
        """Raise the error, if there was one."""
        with self._changed:
            self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def __iter__(self) -> Iterator[Item]:
        """Take items until there are no more."""
        while True:
            with self._changed:
                while self._error is None and not self._items and not self._closed:
                    self._changed.wait()
                self._check()
                if not self._items:
                    return
                item, weight = self._items.popleft()
                self._load -= weight
                self._changed.notify_all()
            yield item


class Worker:
    """A thread that stops all lanes of its job when it fails."""

    def __init__(self, work: Callable[[], None], *lanes: Lane[Any], name: str) -> None:
        """Start working."""
        self._work = work
        self._lanes = lanes
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until it is done, or has stopped."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised again on the other side
            for lane in self._lanes:
                lane.stop(error)
