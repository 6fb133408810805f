"""A progress bar on stderr for what takes longer than two seconds."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import click

from faceblur.redaction import printable

PATIENCE_S = 2.0
STEPS = 1000
"""What a whole is divided into, of which a share is done."""

Item = TypeVar("Item")


class ProgressLine:
    """Shows one bar at a time; nothing where stderr is not a terminal. Safe to use from threads.

    With one file the bar is of its frames, with several of the files, beside the one that said
    something last. The label is for those of the methods that are not told.
    """

    def __init__(self, label: str = "", *, shown: bool = True, files: int = 1) -> None:
        self._label = label
        self._shown = shown and sys.stderr.isatty()
        self._files = files
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._bar: Any = None
        self._done = 0
        self._steps = 0

    @property
    def is_shown(self) -> bool:
        """Whether anybody sees it."""
        return self._shown

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, label: str, *, done: int, total: int | None) -> None:
        """Say that `done` of `total` frames are masked; `total` is None where unknown."""
        label = printable(label)
        if not self._shown:
            return
        with self._lock:
            if self._files == 1:
                if self._open(max(total, done) if total else None, label):
                    self._bar.update(done - self._bar.pos)
            else:
                share = f"{done / total:.0%}" if total else f"{done} frames"
                self._show(f"{label} {share}")

    def share(self, share: float | None) -> None:
        """Move to a share of the whole, 0–1; None where nobody knows it."""
        if share is None:
            self._steps += 1
            self.update(self._label, done=self._steps, total=None)
        else:
            self.update(self._label, done=round(STEPS * share), total=STEPS)

    def items(self, items: Sequence[Item]) -> Iterator[Item]:
        """Pass items on, moving with each; the bar ends with them."""
        with self:
            for done, item in enumerate(items):
                self.update(self._label, done=done, total=len(items))
                yield item

    def file_done(self, label: str, *, done: int) -> None:
        """Say that `done` files are finished, `label` the last of them."""
        if self._shown and self._files > 1:
            with self._lock:
                self._done = done
                self._show(printable(label))

    def echo(self, text: str) -> None:
        """Write a line to stderr that stays, above the bar."""
        with self._lock:
            if self._bar is not None:
                click.echo("\r\x1b[K", nl=False, err=True)
            click.echo(printable(text), err=True)

    def close(self) -> None:
        """End the bar."""
        with self._lock:
            if self._bar is not None:
                self._bar.__exit__(None, None, None)
            self._bar = None

    def _show(self, item: str) -> None:
        if self._open(self._files, "files"):
            self._bar.update(self._done - self._bar.pos, item)
            self._bar.render_progress()

    def _open(self, length: int | None, label: str) -> bool:
        """Begin the bar, when it has taken long enough."""
        if self._bar is None and time.monotonic() - self._started >= PATIENCE_S:
            several = self._files > 1
            self._bar = click.progressbar(
                # An endless row, of which click shows only that it moves.
                itertools.count() if length is None else None,
                length=length,
                label=label,
                show_pos=several,
                item_show_func=(lambda item: item) if several else None,
                file=sys.stderr,
                width=24 if several else 0,
            )
            self._bar.__enter__()
        return self._bar is not None
