"""What all child processes have in common, on the child's side."""

from __future__ import annotations

import ctypes
import logging
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

from faceblur.errors import FaceblurError
from faceblur.live.process.messages import LinkClosedError, MessageSocket
from faceblur.live.process.shared_frames import SharedFrames
from faceblur.redaction import redact

_PR_SET_PDEATHSIG: Final = 1


class WorkerContext:
    """The child's ends of what it shares with its parent, and the settings it was given."""

    def __init__(self) -> None:
        link_fd, memory_fd, slots = map(int, sys.argv[1:4])
        self.link = MessageSocket(socket.socket(fileno=link_fd))
        self.memory = SharedFrames(slots, fd=memory_fd)
        self.settings: Any = pickle.load(sys.stdin.buffer)


class Warnings(logging.Handler):
    """Sends what is logged here to where there is a log."""

    def __init__(self, worker: WorkerContext) -> None:
        super().__init__(logging.WARNING)
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, without credentials and not longer than a line should be."""
        self._worker.link.send(kind="warning", text=redact(record.getMessage())[:1000])


def run(work: Callable[[WorkerContext], None]) -> None:
    """Do a child's work, and tell the parent why it ended.

    Ends with the parent, even while FFmpeg holds Python's lock.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)
    # The parent says when to finish; what is sent to all processes of a group is meant for it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = WorkerContext()
    logging.getLogger("faceblur").addHandler(Warnings(worker))
    try:
        work(worker)
    except LinkClosedError:
        sys.exit(1)
    except FaceblurError as error:
        _report(worker, str(error))
    except Exception as error:  # noqa: BLE001  whatever it is, the parent has to know
        _report(worker, f"{type(error).__name__}: {error}")


def _report(worker: WorkerContext, text: str) -> None:
    try:
        worker.link.send(kind="error", text=redact(text)[:1000])
    except LinkClosedError:
        sys.exit(1)
    sys.exit(1)
