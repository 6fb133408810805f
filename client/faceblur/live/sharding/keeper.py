"""Takes the turns of a shard, in a thread of its own."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterable
from typing import Final

from faceblur.detection.repeats import Repeats
from faceblur.live.sharding.leases import LeaseStoreError
from faceblur.live.sharding.permit import Permit
from faceblur.live.sharding.shard import Shard
from faceblur.redaction import redact

logger = logging.getLogger(__name__)

CLOSE_TURNS: Final = 3
"""How long giving back may take, in turns."""


class LeaseKeeper:
    """Renews the leases of a shard, from `start` to `close`; see `Shard` for the rest.

    Whatever becomes of the thread and of the store, permits that are not extended end in time.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._failure = "the store of leases was not reached yet"
        self._repeats = Repeats()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faceblur-leases", daemon=True)

    @property
    def failure(self) -> str:
        """Why leases are not renewed at the moment; empty when they are."""
        return self._failure

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def want(self, cameras: Iterable[str]) -> None:
        """Say which cameras there are, at least once in the duration of a lease."""
        self._shard.want(cameras)

    def permits(self) -> dict[str, Permit]:
        """The cameras to run now, each with its permit."""
        return self._shard.permits()

    def permit(self, camera: str) -> Permit:
        """That of a camera; one that is over where it is not to run."""
        return self._shard.permit(camera)

    def wake(self) -> None:
        """Take the next turn at once: a camera has ended, and another service waits for it."""
        self._wake.set()

    def close(self) -> None:
        """Give back the leases whose cameras have ended; the others end by themselves."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_TURNS * self._shard.turn_s + 1.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._shard.turn()
                if self._failure:
                    logger.info("leases are renewed")
                self._failure = ""
            except LeaseStoreError as error:
                self._fail(redact(str(error)))
            except Exception as error:
                # The thread goes on, or nothing would be renewed for ever.
                logger.exception("leases are not renewed")
                self._failure = f"{type(error).__name__}: {redact(str(error))}"
            self._wake.wait(self._shard.turn_s * random.uniform(0.8, 1.0))
            self._wake.clear()
        try:
            self._shard.leave()
        except LeaseStoreError as error:
            logger.warning("leases are not given back, and end by themselves: %s", error)

    def _fail(self, text: str) -> None:
        self._failure = text
        if self._repeats.is_new(text):
            logger.warning("leases are not renewed, and their cameras stop in time: %s", text)
