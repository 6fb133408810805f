"""The masked frames of a camera as JPEG, read from where the camera sends them.

Never from the camera itself: only what `faceblur run` gives out is opened here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np

from faceblur.errors import FaceblurError
from faceblur.live.addresses import split_address
from faceblur.live.sources.options import SourceOptions
from faceblur.live.sources.readers import StreamReader
from faceblur.live.sources.worker import Throttle
from faceblur.redaction import HIDDEN, redact

logger = logging.getLogger(__name__)

FRESH_S: Final = 5.0
"""What is older is shown no more: the camera may see something else by now."""

_UNWATCHED_S: Final = 10.0
_RETRY_S: Final = 1.0
_FPS: Final = 12.0
_SIDE: Final = 1280
_QUALITY: Final = 80


def readable_output(labels: Iterable[str], *, sources: Collection[str]) -> SourceOptions | None:
    """Which of a camera's sinks can be read again, the quickest first; None if none can.

    Args:
        labels: Of its sinks, as the status of a service has them: without credentials.
        sources: Labels of all sources, none of which is opened, whatever is written there.
    """
    found: dict[str, SourceOptions] = {}
    cameras = {_bare(source) for source in sources}
    for label in labels:
        kind, _, rest = label.partition(":")
        if _bare(label) in cameras:
            continue
        if kind == "mjpeg":
            host, port = split_address(rest)
            host = "127.0.0.1" if host in ("0.0.0.0", "::") else host
            shown = f"[{host}]" if ":" in host else host
            found[kind] = SourceOptions(kind="mjpeg", url=f"http://{shown}:{port}/")
        elif kind in ("rtsp", "rtsps"):
            # Those who publish may have a password; those who watch are tried without.
            if HIDDEN not in _bare(label):
                found["rtsp"] = SourceOptions(kind="rtsp", url=_bare(label))
        elif kind == "hls" and (playlist := Path(rest) / "index.m3u8").is_absolute():
            found[kind] = SourceOptions(kind="hls", url=str(playlist))
    return next((found[kind] for kind in ("mjpeg", "rtsp", "hls") if kind in found), None)


def _bare(address: str) -> str:
    return address.replace(f"{HIDDEN}@", "")


@dataclass(frozen=True, eq=False)
class Shown:
    """One masked frame.

    Attributes:
        number: Rises from one to the next.
        jpeg: The frame.
        at_s: When it came, on the monotonic clock.
    """

    number: int
    jpeg: bytes
    at_s: float


class Watcher:
    """Reads one masked stream in a thread of its own, as long as somebody looks.

    Attributes:
        source: What is read.
        trouble: Why there is no frame; empty if nobody knows.
    """

    def __init__(self, source: SourceOptions) -> None:
        self.source = source
        self.trouble = ""
        self._newest: Shown | None = None
        self._number = 0
        self._asked_s = time.monotonic()
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="faceblur-watch", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it reads no more, as nobody has looked for a while."""
        return not self._thread.is_alive()

    def after(self, number: int, *, timeout_s: float) -> Shown | None:
        """The newest frame after that number; None if none comes in time, or it is old."""
        self._asked_s = time.monotonic()
        with self._changed:
            self._changed.wait_for(
                lambda: self._number > number or self._stopping.is_set(), timeout_s
            )
            newest = self._newest
        if newest is None or newest.number <= number:
            return None
        return newest if time.monotonic() - newest.at_s < FRESH_S else None

    def close(self) -> None:
        """Have it end, without waiting for that."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._is_over():
            try:
                self._read()
                self.trouble = "its output has ended"
            except FaceblurError as error:
                self.trouble = redact(str(error))
            except Exception:
                logger.exception("an output of a camera cannot be read")
                self.trouble = "its output cannot be read"
            self._stopping.wait(_RETRY_S)

    def _is_over(self) -> bool:
        return self._stopping.is_set() or time.monotonic() - self._asked_s > _UNWATCHED_S

    def _read(self) -> None:
        throttle = Throttle(_FPS)
        for decoded in StreamReader(self.source, "off").frames():
            if self._is_over():
                return
            if not throttle.lets(time.monotonic()):
                continue
            jpeg = _jpeg(decoded.image)
            with self._changed:
                self._number += 1
                self._newest = Shown(self._number, jpeg, time.monotonic())
                self._changed.notify_all()
            self.trouble = ""


def _jpeg(image: av.VideoFrame) -> bytes:
    scale = min(1.0, _SIDE / max(image.width, image.height))
    size = {
        "width": max(2, round(scale * image.width)),
        "height": max(2, round(scale * image.height)),
    }
    pixels = image.reformat(format="bgr24", **size).to_ndarray()
    done, jpeg = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    if not done:
        raise FaceblurError("a frame cannot be encoded as JPEG")
    return np.asarray(jpeg, np.uint8).tobytes()
