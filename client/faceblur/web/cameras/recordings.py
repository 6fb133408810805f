"""The frames of a folder of recordings, as they would have been seen one file ago."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import av

from faceblur.errors import InputError

_FINISHED: Final = re.compile(r"(\d{8}T\d{6}\.\d{3})Z\.mp4")
"""Files as the sink names them once they are whole; nothing else in the folder is opened."""
_SLACK_S: Final = 10.0
_LOOK_S: Final = 0.5
_NOT_YET: Final = "its first recording is not finished yet: it shows here after that"


@dataclass(frozen=True)
class _Recording:
    """One finished file.

    Attributes:
        began_s: When it began, seconds since 1970.
        ended_s: When it was finished.
    """

    path: Path
    began_s: float
    ended_s: float

    @property
    def is_newest(self) -> bool:
        """Whether no newer one can be expected yet: the next one takes as long as this one."""
        span_s = max(0.0, self.ended_s - self.began_s)
        return time.time() - self.ended_s <= span_s + _SLACK_S


def recorded(
    folder: Path, stopping: threading.Event
) -> Generator[tuple[av.VideoFrame, float] | None, None, None]:
    """Frames at their pace and how many seconds old they are; None while there are none.

    Each file is played from the moment on that lies as far from its beginning as now from its end:
    so it ends when the next one is finished, and everything is one file old.

    Raises:
        InputError: No file is finished that can be the newest.
    """
    last: Path | None = None
    found_s = time.monotonic()
    while not stopping.is_set():
        newest = _newest(folder)
        if newest is not None and newest.path != last and newest.is_newest:
            last = newest.path
            try:
                yield from _played(newest, stopping)
            except (av.error.FFmpegError, OSError) as error:
                reason = getattr(error, "strerror", None) or type(error).__name__
                raise InputError(f"its recording cannot be read: {reason}") from error
            found_s = time.monotonic()
        elif last is None or time.monotonic() - found_s > _SLACK_S:
            raise InputError(_NOT_YET if last is None else "it has finished no other recording")
        else:
            yield None
            stopping.wait(_LOOK_S)


def _newest(folder: Path) -> _Recording | None:
    try:
        names = [path.name for path in folder.iterdir() if _FINISHED.fullmatch(path.name)]
        if not names:
            return None
        path = folder / max(names)
        return _Recording(path, _began_s(path.name), path.stat().st_mtime)
    except FileNotFoundError:
        # An old one, deleted at this moment; or there is no folder yet.
        return None
    except OSError as error:
        raise InputError(f"its recordings cannot be read: {error.strerror}") from error


def _began_s(name: str) -> float:
    match = _FINISHED.fullmatch(name)
    assert match is not None
    moment = datetime.strptime(match[1], "%Y%m%dT%H%M%S.%f")
    return moment.replace(tzinfo=timezone.utc).timestamp()


def _played(
    recording: _Recording, stopping: threading.Event
) -> Generator[tuple[av.VideoFrame, float] | None, None, None]:
    with av.open(str(recording.path)) as container:
        stream: Any = container.streams.video[0]
        stream.thread_type = "SLICE"
        start_s: float | None = None
        skip_s = max(0.0, time.time() - recording.ended_s)
        waiting: list[Any] = []
        """Packets from a key frame on that are decoded only if the moment lies among them."""
        for packet in container.demux(stream):
            if stopping.is_set():
                return
            if packet.pts is not None:
                at_s = float(packet.pts * stream.time_base)
                start_s = at_s if start_s is None else start_s
                if at_s - start_s < skip_s:
                    waiting = [*([] if packet.is_keyframe else waiting), packet]
                    continue
            for each in (*waiting, packet):
                for frame in each.decode():
                    offset_s = (frame.time or 0.0) - (start_s or 0.0)
                    if offset_s >= skip_s:
                        yield from _wait(recording.ended_s + offset_s, stopping)
                        yield frame, time.time() - (recording.began_s + offset_s)
            waiting = []


def _wait(due_s: float, stopping: threading.Event) -> Generator[None, None, None]:
    while (pause_s := due_s - time.time()) > 0 and not stopping.is_set():
        stopping.wait(min(pause_s, 1.0))
        if pause_s > 1.0:
            yield None
