"""System shared memory that carries canvases to a server on the same machine.

A region has a name for the moment in which the server opens it, and holds nothing then. Images
are written to it when the name is gone: nobody else can open it, and nothing of it is left when its
processes end, however that happens.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tritonclient.utils import InferenceServerException

from faceblur.owners import PATTERN, is_gone, own_mark

logger = logging.getLogger(__name__)

SHM_FOLDER = Path("/dev/shm")
INSTANCE_BYTES: Final = 48 << 20
"""What a server's instance may come to take for a request of 16 MB and its answer."""
_SMALLEST: Final = 1 << 16
"""So that a check image fits into every region, however small its frames are."""
_RESERVE: Final = 2 * INSTANCE_BYTES
"""Left to the server, whose requests fail without it; ours can go through gRPC."""

_PAUSES_S: Final = (0.01, 0.05)
"""Before a region that is in use is tried to be let go of again."""

_OURS: Final = re.compile(rf"faceblur_(?:[a-z]+_)?(?P<owner>{PATTERN})_.*")
"""Names of the regions of clients and of embedded servers."""


@dataclass(eq=False)
class Slot:
    """One region, known to the server under its name, which nobody can guess."""

    name: str
    memory: npt.NDArray[np.uint8]
    is_given_up: bool = False
    """It is dropped as soon as its request has ended."""


class SharedMemoryPool:
    """A pool of regions, each used by one request at a time.

    Registering one by the client, an `InferenceServerClient`, may take `timeout_s`.
    """

    def __init__(self, client: Any, *, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._free: list[Slot] = []
        self._used: set[Slot] = set()
        self._claimed: Slot | None = None

    def take(self, canvases: Sequence[npt.NDArray[np.uint8]]) -> Slot:
        """Copy canvases into a free region, which stays taken until `give_back` or `retire`.

        Raises:
            InferenceServerException: The server does not take regions (it runs elsewhere, in
                another container, or forbids them).
            OSError: This machine does not give one.
        """
        byte_size = sum(canvas.nbytes for canvas in canvases)
        with self._lock:
            fitting = [
                slot
                for slot in self._free
                if slot.memory.nbytes >= byte_size and slot is not self._claimed
            ]
            slot = min(fitting, key=lambda each: each.memory.nbytes, default=None)
            if slot is not None:
                self._free.remove(slot)
        if slot is None:
            slot = self._create(max(byte_size, _SMALLEST))
        with self._lock:
            self._used.add(slot)
        offset = 0
        for canvas in canvases:
            slot.memory[offset : offset + canvas.nbytes].reshape(canvas.shape)[...] = canvas
            offset += canvas.nbytes
        return slot

    def each(self, *, timeout_s: float) -> Iterator[Slot]:
        """Take every region that there is now, one after the other; by one thread at a time.

        One that is in use is waited for; one whose request does not end in time is passed by, for
        it is dropped then. Each stays taken until `give_back` or `retire`.
        """
        with self._lock:
            slots = [*self._free, *self._used]
        for slot in slots:
            if self._claim(slot, timeout_s):
                yield slot

    def _claim(self, slot: Slot, timeout_s: float) -> bool:
        with self._changed:
            # Else the next frame would be faster.
            self._claimed = slot
            self._changed.wait_for(lambda: slot not in self._used, timeout_s)
            self._claimed = None
            if slot not in self._free:
                return False
            self._free.remove(slot)
            self._used.add(slot)
            return True

    def give_back(self, slot: Slot) -> None:
        """Make a region available again; its request was answered."""
        with self._lock:
            if slot in self._used:
                self._used.discard(slot)
                self._free.append(slot)
                self._changed.notify_all()

    def retire(self, slot: Slot) -> None:
        """Drop a region whose request was not answered: the server may still read it.

        The free ones go too, for a server that was restarted knows none of them.
        """
        with self._lock:
            if slot not in self._used:
                return  # closed meanwhile
            self._used.discard(slot)
            slots = [slot]
            if not slot.is_given_up:
                slots += self._free
                self._free.clear()
            self._changed.notify_all()
        for each in slots:
            self._unregister(each)

    def renew(self) -> None:
        """Drop all regions, those in use when their requests have ended; new ones are made."""
        with self._lock:
            slots = [*self._free]
            self._free.clear()
            for slot in self._used:
                slot.is_given_up = True
        for slot in slots:
            self._unregister(slot)

    def close(self) -> None:
        """Drop all regions."""
        with self._lock:
            slots = [*self._free, *self._used]
            self._free.clear()
            self._used.clear()
            self._changed.notify_all()
        for slot in slots:
            self._unregister(slot)

    def _create(self, byte_size: int) -> Slot:
        if not hasattr(os, "posix_fallocate"):
            raise OSError(errno.ENOSYS, "this system has none")
        if reason := shortage(byte_size + _RESERVE):
            raise OSError(errno.ENOSPC, reason)
        name = f"faceblur_{own_mark()}_{secrets.token_hex(12)}"
        path = SHM_FOLDER / name
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            # Memory that is merely promised ends the process when it is written to.
            os.posix_fallocate(fd, 0, byte_size)
            memory = np.frombuffer(mmap.mmap(fd, byte_size), np.uint8)
            self._client.register_system_shared_memory(
                name, f"/{name}", byte_size, client_timeout=self._timeout_s
            )
        finally:
            os.close(fd)
            path.unlink(missing_ok=True)
        return Slot(name, memory)

    def _unregister(self, slot: Slot) -> None:
        for pause_s in (*_PAUSES_S, None):
            try:
                self._client.unregister_system_shared_memory(
                    slot.name, client_timeout=self._timeout_s
                )
            except (InferenceServerException, ValueError) as error:
                # A server lets go a moment after it has answered.
                if pause_s is not None and "in use" in str(error):
                    time.sleep(pause_s)
                    continue
                # The server may be gone, and its registration with it; ValueError is gRPC's way to
                # say that the connection was closed meanwhile.
                logger.debug("region %s stays registered: %s", slot.name, error)
            return


def shortage(byte_size: int) -> str | None:
    """Why this machine does not give so much shared memory; None when it does."""
    try:
        found = os.statvfs(SHM_FOLDER)
    except OSError as error:
        return f"{SHM_FOLDER} cannot be used ({error.strerror})"
    if not os.access(SHM_FOLDER, os.W_OK | os.X_OK):
        return f"{SHM_FOLDER} cannot be written to"
    free = found.f_bavail * found.f_frsize
    if free < byte_size:
        return (
            f"{SHM_FOLDER} has {free >> 20} MB free, {byte_size >> 20} MB are needed (in Docker: "
            "--shm-size 1g)"
        )
    return None


def remove_abandoned_regions() -> None:
    """Remove the regions of processes that no longer exist."""
    for path in SHM_FOLDER.glob("faceblur_*"):
        match = _OURS.fullmatch(path.name)
        if match and is_gone(match["owner"]):
            with contextlib.suppress(OSError):  # another user's
                path.unlink()


def forget_abandoned_regions(client: Any, *, timeout_s: float) -> None:
    """Have a server let go of regions whose clients no longer exist.

    Raises:
        InferenceServerException: It does not answer, or does not take regions at all.
    """
    status = client.get_system_shared_memory_status(client_timeout=timeout_s)
    for name in status.regions:
        match = _OURS.fullmatch(name)
        if match and is_gone(match["owner"]):
            client.unregister_system_shared_memory(name, client_timeout=timeout_s)
            logger.info("let go of %s, whose client is no more", name)
