"""A progress bar on stderr for what takes longer than two seconds."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import click

from faceblur.redaction import printable

PATIENCE_S = 2.0


class ProgressLine:
    """Shows one bar at a time; nothing where stderr is not a terminal. Safe to use from threads.

    Args:
        shown: Whether to show anything at all.
        files: Of how many files the run is. With one the bar is of its frames, with several of
            the files, beside the one that said something last.
    """

    def __init__(self, *, shown: bool, files: int = 1) -> None:
        self._shown = shown and sys.stderr.isatty()
        self._files = files
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._bar: Any = None
        self._done = 0

    def update(self, label: str, *, done: int, total: int | None) -> None:
        """Say that `done` of `total` frames are masked; `total` is None where nobody knows."""
        label = printable(label)
        if not self._shown:
            return
        with self._lock:
            if self._files == 1:
                if self._open(max(total or 0, done) or None, label):
                    self._bar.update(done - self._bar.pos)
            else:
                share = f"{done / total:.0%}" if total else f"{done} frames"
                self._show(f"{label} {share}")

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
                length=length,
                label=label,
                show_pos=several,
                item_show_func=(lambda item: item) if several else None,
                file=sys.stderr,
                width=24 if several else 0,
            )
            self._bar.__enter__()
        return self._bar is not None
