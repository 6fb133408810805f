"""A progress bar on stderr, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeVar

import click

STEPS = 1000
Item = TypeVar("Item")

ShowShare = Callable[["float | None"], None]
"""Called with the share that is done, 0–1, or None where nobody knows."""


class ShowItems(Protocol):
    """Passes on what it is given, and may show how far it is."""

    def __call__(self, items: Sequence[Item], /) -> Iterable[Item]:
        """The same items."""


class ProgressBar:
    """A bar that is shown from the first step on; nothing where stderr is not a terminal.

    Args:
        label: What is going on.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None
        self._done = 0

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def show_share(self, share: float | None) -> None:
        """Move to a share of the whole, 0–1; None where nobody knows it."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = click.progressbar(
                length=None if share is None else STEPS, label=self._label, file=sys.stderr
            )
            self._bar.__enter__()
        done = self._done + 1 if share is None else round(STEPS * share)
        self._bar.update(done - self._done)
        self._done = done

    def show_items(self, items: Sequence[Item]) -> Iterator[Item]:
        """Pass items on, moving with each; from the start again for each row of them."""
        for done, item in enumerate(items):
            self.show_share(done / len(items))
            yield item

    def show_bytes(self, done: int, total: int | None) -> None:
        """Move to `done` of `total` bytes; `total` is None where nobody knows it."""
        self.show_share(None if not total else done / total)
