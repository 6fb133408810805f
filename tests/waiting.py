"""Waiting for what must come, however busy the machine is."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

PATIENCE_S: Final = 60.0
"""Long enough for anything that comes at all."""


def until(
    holds: Callable[[], bool], what: str, *, within_s: float = PATIENCE_S, seen: object = ""
) -> None:
    """Wait until something holds; `what` says in a failure what that was, and `seen` how it is."""
    end_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end_s, f"not in {within_s:g} s: {what} {seen}"
        time.sleep(0.01)


def connect(client: grpcclient.InferenceServerClient) -> None:
    """Have the connection of a client made: gRPC gives each attempt a second alone."""

    def is_up() -> bool:
        try:
            return bool(client.is_server_live(client_timeout=PATIENCE_S))
        except InferenceServerException:
            return False

    until(is_up, "a connection to the server")


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Have processes stand still while the block runs, from its first moment on."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            until(lambda pid=pid: _stands_still(pid), f"process {pid} stands still")  # type: ignore[misc]
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # the block has ended it
                os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    threads = Path("/proc", str(pid), "task").glob("*/stat")
    return all(each.read_text().rpartition(")")[2].split()[0] == "T" for each in threads)
