"""A child process that is watched, and started again whenever it fails."""

from __future__ import annotations

import logging

from faceblur.detection.repeats import Repeats, kind_of
from faceblur.live.process.backoff import Backoff
from faceblur.live.process.child import WorkerProcess, no_child
from faceblur.live.process.messages import LinkClosedError, Message, MessageSocket
from faceblur.redaction import redact

logger = logging.getLogger(__name__)


class Supervisor:
    """Keeps a camera's child process at work. For one thread.

    Its `module` has a `work(WorkerContext)`, which is given the `settings`; `label` says what it
    works on, and `name` is the camera's.

    Attributes:
        opened: How often a child was started.
        online: The child has shown that it does its work.
        error: Why it failed last, without credentials; empty if it never did.
    """

    def __init__(self, module: str, settings: object, *, label: str, name: str, slots: int) -> None:
        self._module = module
        self._settings = settings
        self._label = label
        self._name = name
        self._slots = slots
        self._child: WorkerProcess | None = None
        self._backoff = Backoff()
        self._repeats = Repeats()
        self._retry_s = 0.0
        self._opened_s = 0.0
        self.opened = 0
        self.online = False
        self.error = ""

    @property
    def link(self) -> MessageSocket | None:
        """What to wait on; None while there is no child."""
        return None if self._child is None else self._child.link

    def close(self) -> None:
        """End the child, whatever it does."""
        if self._child is not None:
            self._child.kill()
            self._child = None
        self.online = False

    def _open(self, now_s: float) -> bool:
        """Start a child; whether there is one now."""
        try:
            self._child = WorkerProcess(
                self._module, self._settings, name=self._name, slots=self._slots
            )
        except OSError as error:
            self._fail(no_child(error), now_s)
            return False
        self.opened += 1
        self._opened_s = now_s
        return True

    def _receive(self, child: WorkerProcess, now_s: float) -> list[Message]:
        """What the child says; nothing once it is gone, and then it is given up."""
        try:
            return self._hear(child)
        except LinkClosedError:
            child.wait(1.0)
            self._fail(f"{self._label}: {child.how_it_ended()}", now_s)
            return []

    def _hear(self, child: WorkerProcess) -> list[Message]:
        """What the child says; its warnings are passed on, but not again and again."""
        messages = child.link.receive()
        for message in messages:
            text = redact(str(message.get("text", "")))
            if message.get("kind") == "warning" and self._repeats.is_new(text):
                logger.warning("camera %s: %s", self._name, text)
        return [message for message in messages if message.get("kind") != "warning"]

    def _fail(self, error: str, now_s: float) -> None:
        """Give up this child, and start another after a pause."""
        error = redact(error)
        is_other = self.online or kind_of(error) != kind_of(self.error)
        if is_other and self._repeats.is_new(error):
            logger.warning("camera %s: %s; trying again", self._name, error)
        self.error = error
        worked_for_s = now_s - self._opened_s if self.online else 0.0
        self.close()
        self._retry_s = now_s + self._backoff.pause_s(worked_for_s=worked_for_s)
