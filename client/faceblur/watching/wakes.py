"""Wake a loop when something happens: told by others, or by the system about a folder."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_TURN_MS: Final = 200


class Wakes:
    """Waits until it is woken, or a folder changes; a context manager.

    Args:
        folder: None for none. Changes of network file systems are not told, and none are without
            the library watchfiles: so nobody may wait without an end.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """End the wait, or the next one; from any thread."""
        self._woken.set()

    def wait(self, seconds: float) -> None:
        """Wait so long at most."""
        self._woken.wait(seconds)
        self._woken.clear()

    def __enter__(self) -> Wakes:
        if self._folder is not None:
            self._thread = threading.Thread(
                target=self._watch, args=(self._folder,), name="faceblur-watch", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, folder: Path) -> None:
        try:
            from watchfiles import watch
        except ImportError:
            logger.info("watchfiles is not installed: %s is looked at now and then", folder)
            return
        try:
            for _ in watch(
                folder,
                watch_filter=None,
                debounce=_TURN_MS,
                step=_TURN_MS // 4,
                stop_event=self._ended,
                raise_interrupt=False,
            ):
                self.wake()
        except (OSError, RuntimeError) as error:
            # No more watches are left here, for one.
            logger.warning("%s is looked at now and then: %s", folder, type(error).__name__)
