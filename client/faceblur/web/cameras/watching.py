"""The masked frames of a camera as JPEG, read from where the camera sends them.

Never from the camera itself: only what `faceblur run` gives out is opened here.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import av
import numpy as np

from faceblur.errors import FaceblurError
from faceblur.image.jpeg import jpeg
from faceblur.live.sources.worker import Throttle
from faceblur.live.views import View
from faceblur.redaction import redact
from faceblur.web.cameras.outputs import frames

logger = logging.getLogger(__name__)

FRESH_S: Final = 5.0
"""What is older is shown no more: the camera may see something else by now."""

_UNWATCHED_S: Final = 10.0
_FPS: Final = 12.0
_SIDE: Final = 1280
_QUALITY: Final = 80

_numbers = itertools.count(1)
"""Of frames: one that is read later, by whomever, has a higher one."""


@dataclass(frozen=True, eq=False)
class Shown:
    """One masked frame.

    Attributes:
        number: Rises from one to the next.
        jpeg: The frame.
        at_s: When it came, on the monotonic clock.
        age_s: How old it was then, seconds, where that is more than what the camera is behind.
    """

    number: int
    jpeg: bytes
    at_s: float
    age_s: float = 0.0


class Watcher:
    """Reads one masked stream in a thread of its own, until it ends or nobody looks any more.

    Attributes:
        view: What is read.
        trouble: Why there is no frame; empty if nobody knows.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.trouble = ""
        self._newest: Shown | None = None
        self._asked_s = time.monotonic()
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="faceblur-watch", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it reads no more."""
        return self._stopping.is_set()

    def after(self, number: int, *, timeout_s: float) -> Shown | None:
        """The newest frame after that number; None if none comes in time, or it is old."""
        self._asked_s = time.monotonic()
        with self._changed:
            self._changed.wait_for(
                lambda: self._has_after(number) or self._stopping.is_set(), timeout_s
            )
            newest = self._newest
        if newest is None or newest.number <= number:
            return None
        return newest if time.monotonic() - newest.at_s < FRESH_S else None

    def _has_after(self, number: int) -> bool:
        return self._newest is not None and self._newest.number > number

    def close(self) -> None:
        """Have it end, without waiting for that."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._read()
        except FaceblurError as error:
            self.trouble = redact(str(error))
        except Exception:
            logger.exception("an output of a camera cannot be read")
            self.trouble = "its output cannot be read"
        self.close()

    def _is_over(self) -> bool:
        return self._stopping.is_set() or time.monotonic() - self._asked_s > _UNWATCHED_S

    def _read(self) -> None:
        throttle = Throttle(_FPS)
        with closing(frames(self.view, self._stopping)) as found:
            for each in found:
                if self._is_over():
                    return
                if each is None or not throttle.lets(time.monotonic()):
                    continue
                image, age_s = each
                shown = Shown(next(_numbers), _reduced(image), time.monotonic(), age_s)
                with self._changed:
                    self._newest = shown
                    self._changed.notify_all()
                self.trouble = ""


def _reduced(image: av.VideoFrame) -> bytes:
    scale = min(1.0, _SIDE / max(image.width, image.height))
    size = {
        "width": max(2, round(scale * image.width)),
        "height": max(2, round(scale * image.height)),
    }
    pixels = np.asarray(image.reformat(format="bgr24", **size).to_ndarray(), np.uint8)
    return jpeg(pixels, quality=_QUALITY)
