"""The masked frames of a camera as JPEG, read from where the camera sends them.

Never from the camera itself: only what `faceblur run` gives out is opened here.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from faceblur.errors import FaceblurError
from faceblur.image.jpeg import jpeg
from faceblur.live.addresses import split_address
from faceblur.live.sources.options import SourceOptions
from faceblur.live.sources.readers import StreamReader
from faceblur.live.sources.worker import Throttle
from faceblur.redaction import HIDDEN, redact
from faceblur.web.names import shown

logger = logging.getLogger(__name__)

FRESH_S: Final = 5.0
"""What is older is shown no more: the camera may see something else by now."""

_UNWATCHED_S: Final = 10.0
_FPS: Final = 12.0
_SIDE: Final = 1280
_QUALITY: Final = 80

_numbers = itertools.count(1)
"""Of frames: one that is read later, by whomever, has a higher one."""


def readable_output(
    camera: Mapping[str, Any], cameras: Iterable[Mapping[str, Any]]
) -> SourceOptions | None:
    """Which of a camera's sinks can be read at this moment, the quickest first; None if none can.

    Only sinks that run: at the address of another one, somebody else may give out anything.

    Args:
        camera: As the status of a service has it, where addresses are without credentials.
        cameras: All of them; none of their sources is opened, whatever is written there.
    """
    found: dict[str, SourceOptions] = {}
    sources = {_bare(each["source"]).rstrip("/") for each in cameras}
    for label in (_bare(sink["label"]) for sink in camera["sinks"] if sink["state"] == "running"):
        kind, _, rest = label.partition(":")
        if kind == "mjpeg":
            found[kind] = SourceOptions(kind="mjpeg", url=f"http://{_here(rest)}/")
        elif kind in ("rtsp", "rtsps") and HIDDEN not in label:
            # Those who publish may have a password; those who watch are tried without.
            found["rtsp"] = SourceOptions(kind="rtsp", url=label)
        elif kind == "hls" and (playlist := Path(rest) / "index.m3u8").is_absolute():
            found[kind] = SourceOptions(kind="hls", url=str(playlist))
    kinds = (kind for kind in ("mjpeg", "rtsp", "hls") if kind in found)
    return next((found[kind] for kind in kinds if found[kind].url.rstrip("/") not in sources), None)


def can_be_read(camera: Mapping[str, Any]) -> bool:
    """Whether a camera has a sink that can be read once it runs."""
    sinks = [{**sink, "state": "running"} for sink in camera["sinks"]]
    return readable_output({**camera, "sinks": sinks}, [camera]) is not None


def _here(address: str) -> str:
    """Where this machine reaches what listens at an address."""
    host, port = split_address(address)
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"{shown(host)}:{port}"


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
    """Reads one masked stream in a thread of its own, until it ends or nobody looks any more.

    Attributes:
        source: What is read.
        trouble: Why there is no frame; empty if nobody knows.
    """

    def __init__(self, source: SourceOptions) -> None:
        self.source = source
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
        for decoded in StreamReader(self.source, "off").frames():
            if self._is_over():
                return
            if not throttle.lets(time.monotonic()):
                continue
            image = _reduced(decoded.image)
            with self._changed:
                self._newest = Shown(next(_numbers), image, time.monotonic())
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
