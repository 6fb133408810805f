"""The detectors of the page: the same that the command takes for a photo and for a video."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, Literal

from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.detection.triton.connection import DEFAULT_SERVER
from faceblur.errors import FaceblurError, ServerError
from faceblur.video.kinds import Kind

logger = logging.getLogger(__name__)

Health = Literal["starting", "ready", "lost"]
_AGAIN: Final = "What finds them has ended, and is being started again: that takes a moment."


class Detectors:
    """Opens a detector when it is first needed, and waits for one that failed.

    Safe to use from threads; a context manager.

    Attributes:
        trouble: Why nothing can be masked at present; None while it can.
    """

    def __init__(self, options: SessionOptions, *, size: int) -> None:
        self._options = options
        self._size = size
        self._sessions: dict[Kind, DetectionSession] = {}
        self._locks: dict[Kind, threading.Lock] = {
            "image": threading.Lock(),
            "video": threading.Lock(),
        }
        self._broken: set[Kind] = set()
        self._ending = threading.Event()
        self._live: DetectionSession | None = None
        # A server is ended with the thread that has started it, so that one has to stay.
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="faceblur-web-live")
        self._is_ready = False
        self.trouble: str | None = None

    @property
    def health(self) -> Health:
        """Whether faces can be found."""
        if self.trouble is not None:
            return "lost"
        return "ready" if self._is_ready else "starting"

    def session(self, kind: Kind, *, stop: threading.Event) -> DetectionSession:
        """The detector for a file, once it works.

        Raises:
            FaceblurError: There is none.
        """
        kind = self._kind(kind)
        with self._locks[kind]:
            try:
                session = self._open(kind, stop)
            except FaceblurError as error:
                self.trouble = str(error)
                raise
            self._broken.discard(kind)
            self._is_ready, self.trouble = True, None
            return session

    def lasting_session(self) -> DetectionSession:
        """The detector for cameras, whose threads come and go; a server takes them before files.

        Raises:
            FaceblurError: There is none.
        """
        return self._opener.submit(self._live_session).result()

    def failed(self, kind: Kind, error: ServerError) -> bool:
        """Note that a detector did not answer: it is tried again before the next file.

        Returns:
            Whether it is one that was started here, and so is started again.
        """
        kind = self._kind(kind)
        self._broken.add(kind)
        session = self._sessions.get(kind)
        is_own = session is not None and session.server is not None
        self.trouble = _AGAIN if is_own else str(error)
        return is_own

    def close(self) -> None:
        """Close all that was opened."""
        self._ending.set()
        for kind, lock in self._locks.items():
            with lock:
                session = self._sessions.pop(kind, None)
                if session is not None:
                    session.close()
        self._opener.shutdown()
        if self._live is not None:
            self._live.close()

    def __enter__(self) -> Detectors:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _live_session(self) -> DetectionSession:
        session = self.session("video", stop=self._ending)
        # What was started here is this page's alone, and has no second connection.
        if session.kind != "server":
            return session
        if self._live is None:
            options = replace(self._options, server=self._options.server or DEFAULT_SERVER)
            self._live = open_session(options, size=self._size, media="camera")
        return self._live

    def _kind(self, kind: Kind) -> Kind:
        """What was named serves both."""
        named = self._options.server is not None or self._options.model is not None
        return "image" if named else kind

    def _open(self, kind: Kind, stop: threading.Event) -> DetectionSession:
        session = self._sessions.get(kind)
        if session is None:
            session = open_session(self._options, size=self._size, media=kind)
            self._sessions[kind] = session
        elif kind in self._broken and not session.recovered(stop=stop):
            raise ServerError(self.trouble or "the detector does not answer")
        return session
