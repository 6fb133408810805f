"""A progress bar on stderr for what takes longer than two seconds."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

PATIENCE_S = 2.0


class ProgressLine:
    """Shows one bar at a time; nothing where stderr is not a terminal.

    Args:
        shown: Whether to show anything at all.
    """

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown and sys.stderr.isatty()
        self._started = time.monotonic()
        self._bar: Any = None
        self._done = 0

    def update(self, label: str, *, done: int, total: int | None) -> None:
        """Move the bar to `done` of `total` frames; `total` is None where nobody knows."""
        if not self._shown:
            return
        if done < self._done:
            self.finish()
        if self._bar is None:
            if time.monotonic() - self._started < PATIENCE_S:
                return
            self._bar = click.progressbar(
                length=max(total or 0, done) or None, label=label, file=sys.stderr, width=0
            )
            self._bar.__enter__()
            self._done = 0
        self._bar.update(done - self._done)
        self._done = done

    def finish(self) -> None:
        """End the bar, so that the next file starts a new one."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        self._bar = None
        self._done = 0
        self._started = time.monotonic()
