"""System shared memory that carries canvases to a server on the same machine."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Slot:
    """One region, known to the server under its name.

    Attributes:
        name: Name of the region, unguessable.
        byte_size: How much it holds.
        handle: What tritonclient knows it by.
    """

    name: str
    byte_size: int
    handle: Any


class SharedSlots:
    """A pool of regions, each used by one request at a time.

    Args:
        client: A `tritonclient.grpc.InferenceServerClient`.
        timeout_s: Seconds that registering a region may take.
    """

    def __init__(self, client: Any, *, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._free: list[Slot] = []
        self._used: set[Slot] = set()

    def take(self, canvases: Sequence[npt.NDArray[np.uint8]]) -> Slot:
        """Copy canvases into a free region, which stays taken until `give_back` or `retire`.

        Raises:
            InferenceServerException: The server does not take regions (it runs elsewhere, in
                another container, or forbids them).
            SharedMemoryException: This machine does not give one.
        """
        byte_size = sum(canvas.nbytes for canvas in canvases)
        with self._lock:
            fitting = [slot for slot in self._free if slot.byte_size >= byte_size]
            slot = min(fitting, key=lambda each: each.byte_size, default=None)
            if slot is not None:
                self._free.remove(slot)
        if slot is None:
            slot = self._create(byte_size)
        with self._lock:
            self._used.add(slot)
        shm.set_shared_memory_region(slot.handle, canvases)
        return slot

    def give_back(self, slot: Slot) -> None:
        """Make a region available again; its request was answered."""
        with self._lock:
            if slot in self._used:
                self._used.discard(slot)
                self._free.append(slot)

    def retire(self, slot: Slot) -> None:
        """Drop a region whose request was not answered: the server may still read it.

        The free ones go too, for a server that was started anew knows none of them.
        """
        with self._lock:
            if slot not in self._used:
                return  # closed meanwhile
            self._used.discard(slot)
            slots = [slot, *self._free]
            self._free.clear()
        for each in slots:
            self._destroy(each)

    def close(self) -> None:
        """Drop all regions."""
        with self._lock:
            slots = [*self._free, *self._used]
            self._free.clear()
            self._used.clear()
        for slot in slots:
            self._destroy(slot)

    def _create(self, byte_size: int) -> Slot:
        name = f"faceblur_{secrets.token_hex(12)}"
        handle = shm.create_shared_memory_region(name, f"/{name}", byte_size, create_only=True)
        slot = Slot(name, byte_size, handle)
        try:
            self._client.register_system_shared_memory(
                name, f"/{name}", byte_size, client_timeout=self._timeout_s
            )
        except InferenceServerException:
            shm.destroy_shared_memory_region(handle)
            raise
        return slot

    def _destroy(self, slot: Slot) -> None:
        try:
            self._client.unregister_system_shared_memory(slot.name, client_timeout=self._timeout_s)
        except (InferenceServerException, ValueError) as error:
            # The server may be gone, and its registration with it; ValueError is gRPC's way to
            # say that the connection was closed meanwhile.
            logger.debug("region %s stays registered: %s", slot.name, error)
        shm.destroy_shared_memory_region(slot.handle)
