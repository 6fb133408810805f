"""The one detector of all cameras of a process, there or not."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final

from faceblur.detection.detector import ModelInfo, ModelInput, refuse
from faceblur.detection.options import DEFAULT_SIZE
from faceblur.detection.repeats import Repeats, kind_of
from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.detections import Detections
from faceblur.errors import FaceblurError, ServerError, ServerUnavailableError
from faceblur.redaction import redact

logger = logging.getLogger(__name__)

RETRY_S: Final = 2.0
"""Pause between two attempts to reach a server, on average."""

LOST_AFTER_S: Final = 2.0
"""A connection whose canary is dead for so long is reopened."""

CLOSE_TIMEOUT_S: Final = 10.0

CANARY_PAUSE_S: Final = 0.5
"""Frames that fail ask for a canary, at most this often."""


class ReconnectingDetector:
    """A detector (see `faceblur.detection.detector.Detector`) that may be absent for a while.

    It opens its session in the background and tries for ever, so cameras can start before their
    server does. Until then every frame fails with a `ServerUnavailableError`; after that the
    session's canary guards it, and a frame that fails makes the canary check at once.
    A context manager.

    Args:
        options: Which detector to open. Its deadline should be about the cameras' own.
        size: Longest side of what it will be asked about, pixels.
    """

    def __init__(
        self,
        options: SessionOptions,
        *,
        size: int = DEFAULT_SIZE,
        open_: Callable[[SessionOptions], DetectionSession] | None = None,
    ) -> None:
        self._options = options
        self._open = open_ or partial(open_session, size=size, media="camera")
        self._session: DetectionSession | None = None
        self._failure: FaceblurError = ServerUnavailableError("the detector is being started")
        self._repeats = Repeats()
        self._detected_s = 0.0
        self._failing_s: float | None = None
        self._stop = threading.Event()
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faceblur-connect", daemon=True)
        self._thread.start()

    @property
    def session(self) -> DetectionSession | None:
        """The open session; None until there is one."""
        return self._session

    @property
    def model(self) -> ModelInfo:
        """The model that answers.

        Raises:
            ServerUnavailableError: No session could be opened yet.
        """
        session = self._session
        if session is None:
            raise ServerUnavailableError(str(self._failure))
        return session.model

    @property
    def failure(self) -> FaceblurError | None:
        """Why frames are refused at the moment; None when they are not."""
        session = self._session
        return self._failure if session is None else session.detector.failure

    def wait(self, timeout_s: float) -> bool:
        """Wait until a session was opened for the first time; whether it was."""
        return self._opened.wait(timeout_s)

    def submit(self, inputs: Sequence[ModelInput], *, min_score: float) -> list[Future[Detections]]:
        """Start the detection of faces in model inputs, one answer for each."""
        session = self._session
        if session is None:
            return refuse(ServerUnavailableError(str(self._failure)), len(inputs))
        answers = session.detector.submit(inputs, min_score=min_score)
        for answer in answers:
            answer.add_done_callback(self._judge)
        return answers

    def close(self) -> None:
        """Close the session, and stop trying to open one."""
        self._stop.set()
        # An attempt under way is not waited for; it closes what it opened by itself.
        self._thread.join(timeout=CLOSE_TIMEOUT_S if self._opened.is_set() else 1.0)

    def __enter__(self) -> ReconnectingDetector:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _run(self) -> None:
        # This thread lives as long as its sessions: an embedded server ends with the thread that
        # has started it.
        try:
            while not self._stop.is_set():
                if self._session is None or self._is_lost(self._session):
                    self._connect()
                    self._stop.wait(RETRY_S * random.uniform(0.5, 1.5))
                else:
                    self._stop.wait(LOST_AFTER_S / 4)
        finally:
            if self._session is not None:
                self._session.close()

    def _connect(self) -> None:
        """Try once to open a session; it takes the place of one that is lost."""
        try:
            session = self._open(self._options)
        except Exception as reason:  # noqa: BLE001  whatever it is, the next attempt may work
            error: Exception = reason
            if not isinstance(error, FaceblurError):
                error = ServerUnavailableError(f"no detector: {type(reason).__name__}: {reason}")
            text = str(error)
            if kind_of(text) != kind_of(str(self._failure)) and self._repeats.is_new(text):
                logger.warning("%s; trying again", redact(text))
            self._failure = error
            return
        lost, self._session = self._session, session
        self._failing_s = None
        self._opened.set()
        if lost is not None:
            logger.warning("connected again to %s", session.where)
            lost.close()

    def _is_lost(self, session: DetectionSession) -> bool:
        """Whether a session does not come back by itself.

        An embedded server is restarted by its canary. A connection can be beyond repair,
        though: a reply that cannot be parsed ends the thread that reads all others.
        """
        now_s = time.monotonic()
        if session.kind != "server" or session.detector.failure is None:
            self._failing_s = None
            return False
        self._failing_s = now_s if self._failing_s is None else self._failing_s
        return now_s - self._failing_s >= LOST_AFTER_S

    def _judge(self, future: Future[Detections]) -> None:
        """Have the canary checked when a frame failed: it brings an embedded server back."""
        if future.cancelled() or not isinstance(future.exception(), ServerError):
            return
        session, now = self._session, time.monotonic()
        if session is not None and now - self._detected_s > CANARY_PAUSE_S:
            self._detected_s = now
            session.detector.look()
