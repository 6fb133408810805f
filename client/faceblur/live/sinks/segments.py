"""Rolling recordings: a folder of files, each complete when it appears, the oldest deleted."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from pathlib import Path
from typing import Any, Final

import av

from faceblur.live.sinks.encoder import INTERLEAVE
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.writer import EncodedWriter, Output

logger = logging.getLogger(__name__)

SUFFIX: Final = ".mp4"
_UNFINISHED: Final = ".part"
_OURS: Final = re.compile(r"\d{8}T\d{6}\.\d{3}Z\.mp4(\.part)?")
"""Names of our files; nothing else in the folder is touched."""
_FRAGMENT: Final = b"moof"
"""Begins what can be played."""
_HEAD_BYTES: Final = 1 << 20
_BEGINNING_S: Final = 60.0
"""A file that is empty for longer was left so."""


class SegmentWriter(EncodedWriter):
    """Writes files named by the time they begin. A change of size begins a new one."""

    def __init__(self, options: SinkOptions) -> None:
        super().__init__(options)
        self._folder = Path(options.target)
        self._part: Path | None = None

    def open_target(self) -> Any:
        """Begin a file, under a name that says that it is not finished."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._part = self._folder / f"{_now()}{SUFFIX}{_UNFINISHED}"
        # Readable up to the last key frame even if this process is killed.
        settings = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        container = av.open(str(self._part), "w", format="mp4", options=settings | INTERLEAVE)
        self._delete_old()
        return container

    def _must_reopen(self, output: Output) -> bool:
        assert self._encoder is not None
        is_full = self._encoder.duration_s >= self._options.segment_s
        return is_full or (output.format, output.audio) != (self._format, self._audio)

    def _finish_target(self) -> None:
        """Let the file appear."""
        if self._part is not None:
            self._part.rename(self._part.with_suffix(""))
            self._part = None
        self._delete_old()

    def _abandon_target(self) -> None:
        """Leave what is written as far as it can be played, and nothing where it cannot."""
        target, part = self._target, self._part
        self._target = self._encoder = self._part = None
        if target is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError):
                target.close()
        if part is not None:
            _delete_empty(part)

    def _delete_old(self) -> None:
        """Keep what may be kept; files left unfinished when their process was killed count too."""
        options, now = self._options, time.time()
        ours = (path for path in self._folder.iterdir() if _OURS.fullmatch(path.name))
        files = sorted((path for path in ours if path != self._part), reverse=True)
        total = 0
        for path in files:
            try:
                found = path.stat()
                total += found.st_size
                is_old = options.keep_s is not None and now - found.st_mtime > options.keep_s
                is_empty = found.st_size == 0 and now - found.st_mtime > _BEGINNING_S
                is_much = options.keep_bytes is not None and total > options.keep_bytes
                if is_old or is_much or is_empty:
                    path.unlink()
            except OSError as error:
                logger.warning("cannot delete %s: %s", path, error.strerror)


def _delete_empty(part: Path) -> None:
    """Delete a file that was left unfinished before there was a frame in it."""
    with contextlib.suppress(OSError):
        with part.open("rb") as file:
            if _FRAGMENT in file.read(_HEAD_BYTES):
                return
        part.unlink()


def _now() -> str:
    """The time now in UTC, as it goes into file names; they sort by it."""
    now = time.time()
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
