"""The one detector that all plain functions of a process share."""

from __future__ import annotations

import atexit
import os
import threading
from concurrent.futures import Future
from typing import Final, get_args

from faceblur.detection.models import Media
from faceblur.detection.session import DetectionSession, SessionOptions, open_session

CLOSE_TIMEOUT_S: Final = 10.0


class SharedSession:
    """A session that is opened when it is first needed; safe to call from threads.

    A thread of its own holds it, as an embedded server ends with the thread that started it.
    """

    def __init__(self, media: Media) -> None:
        self._media = media
        self._lock = threading.Lock()
        self._session: DetectionSession | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def get(self) -> DetectionSession:
        """The open session; `ServerError` where no server can check a frame."""
        with self._lock:
            if self._session is None:
                opened: Future[DetectionSession] = Future()
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=_hold,
                    args=(opened, self._stop, self._media),
                    name="faceblur-session",
                    daemon=True,
                )
                self._thread.start()
                try:
                    self._session = opened.result()
                except BaseException:
                    # After an interrupt, what is being opened is closed again.
                    self._stop.set()
                    raise
            return self._session

    def close(self) -> None:
        """Close it, if it was opened."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)


def _hold(opened: Future[DetectionSession], stop: threading.Event, media: Media) -> None:
    try:
        session = open_session(SessionOptions(), media=media)
    except Exception as error:  # noqa: BLE001  it is raised where the session is asked for
        opened.set_exception(error)
        return
    with session:
        opened.set_result(session)
        stop.wait()


def _none_open() -> dict[Media, SharedSession]:
    return {media: SharedSession(media) for media in get_args(Media)}


_shared = _none_open()


def shared_session(media: Media = "image") -> DetectionSession:
    """The session of this process, which ends with it; `ServerError` where no server checks.

    After an error the next call tries again. Images and videos have one each, as their models
    differ.
    """
    return _shared[media].get()


def _close() -> None:
    for session in _shared.values():
        session.close()


def _forget() -> None:
    """In a forked child: the server, and the threads that talk to it, are the parent's."""
    global _shared
    _shared = _none_open()


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
