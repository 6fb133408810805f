"""A process of our own that reads from or writes to the world, and may hang or die in it."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
import socket
import subprocess
import sys
from typing import Any, Final

from faceblur.live.process.messages import LinkClosedError, MessageSocket
from faceblur.live.process.shared_frames import SharedFrames

START_S: Final = 15.0
"""What a fresh interpreter may take to start, on a busy machine, on top of the source's own
time-out."""

WORKER: Final = "faceblur.live.process.worker"
_ENVIRONMENT: Final = {
    # One frame at a time is worked on, and cameras are many: threads would only get in the way.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # The current directory is nobody's package.
    "PYTHONSAFEPATH": "1",
}


class WorkerProcess:
    """A running worker, which `faceblur.live.process.worker` serves.

    It is a fresh interpreter, not a fork: nothing of this process, its threads and locks least of
    all, is in it. Settings travel through a pipe, so that no credential shows in the process list.
    """

    def __init__(self, module: str, settings: object, *, name: str, slots: int) -> None:
        """Start a module's `work(WorkerContext)` with settings that can be pickled.

        The name shows in the process list.

        Raises:
            OSError: The system gives no more processes, files or memory.
        """
        self.memory = SharedFrames(slots)
        with contextlib.ExitStack() as undo, contextlib.closing(self.memory):
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            with theirs:
                self._process = self._start(module, name, theirs.fileno())
            undo.callback(self._process.kill)
            assert self._process.stdin is not None
            with self._process.stdin as pipe:
                pipe.write(pickle.dumps(settings))
            undo.pop_all()
        self.link = MessageSocket(ours)

    def _start(self, module: str, name: str, link_fd: int) -> subprocess.Popen[bytes]:
        fds = (link_fd, self.memory.fd)
        program = f"from {WORKER} import run; from {module} import work; run(work)"
        return subprocess.Popen(
            [sys.executable, "-c", program, *map(str, (*fds, self.memory.slots)), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=fds,
            env={**os.environ, **_ENVIRONMENT},
            # Ctrl-C is for us: children are told to finish when we have.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    def how_it_ended(self) -> str:
        """For people to read."""
        code = self._process.poll()
        if code is None:
            return "it is still running"
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with code {code}"

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended; whether it has."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it now, whatever it does, with what it has started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()
        self.link.close()
        # A process that the kernel holds is not waited for; it is collected later.
        self.wait(1.0)


def no_child(error: OSError) -> str:
    """What to say where no child process can be started."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return (
            "too many files are open: raise the limit with ulimit -n 4096, or with "
            "LimitNOFILE=4096 in the service"
        )
    return f"no process can be started: {error.strerror or error}"


def send_quietly(link: MessageSocket, **message: Any) -> None:
    """Send a message to a child that may have gone."""
    try:
        link.send(**message)
    except LinkClosedError:
        # Its end is noticed where its messages are read.
        return
