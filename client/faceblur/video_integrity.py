"""Tell a file that was cut off from one that is complete.

A demuxer reads what is there and then reports the end, as if the video had ended. The containers
say how long they should be, so that is compared before anything is decoded.
"""

from __future__ import annotations

import heapq
import mmap
import struct
from pathlib import Path
from typing import BinaryIO

from faceblur import video_matroska
from faceblur.errors import InputError

_BOX_HEADER = 8
_LARGE_BOX_HEADER = 16
_TOP_BOXES = frozenset(
    (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"pnot")
)


class FrameLedger:
    """Notices frames that went into a decoder and never came out.

    A decoder that cannot make sense of a packet may say nothing and go on with the next: the
    video would be shorter, and what is missing was never looked at.
    """

    def __init__(self) -> None:
        self._expected: list[int] = []
        self._started = False
        self._last = 0
        self._joint: int | None = None
        self._cut_off: set[int] = set()

    def expect(self, pts: int) -> None:
        """A packet with this presentation time was given to the decoder."""
        heapq.heappush(self._expected, pts)
        self._last = pts

    def join(self, pts: int) -> None:
        """The next packet is the first of another recording, joined to the last.

        Neither the last frame before it, which may have been cut off, nor frames after it before
        the first that can be decoded count.
        """
        self._cut_off.add(self._last)
        self._joint = pts

    def deliver(self, pts: int) -> int | None:
        """A frame came out, the next in order of presentation.

        Returns:
            The time of a frame that should have come before it; None if all is well. Frames
            before the first that can be decoded do not count: a recording that was cut in the
            middle has some.
        """
        lost = None
        while self._expected and self._expected[0] <= pts:
            due = heapq.heappop(self._expected)
            run_in = self._joint is not None and due >= self._joint
            if due < pts and self._started and lost is None and not run_in:
                lost = None if due in self._cut_off else due
        if self._joint is not None and pts >= self._joint:
            self._joint = None
        self._started = True
        return lost

    def remaining(self) -> int | None:
        """The time of a frame that never came, once all should have."""
        return min(set(self._expected) - self._cut_off, default=None)


def check_complete(path: Path) -> None:
    """Refuse a file whose container says that it should be longer.

    MP4 and its kin (every box at the top must end within the file, one of them is the index),
    Matroska and WebM (every element must start where the last one ends) and AVI are looked at;
    others pass, as do recordings that were never told how long they are.

    Raises:
        InputError: The file is empty, cut off or damaged, or cannot be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size == 0:
                raise InputError(f"{path} is empty: get the file again")
            head = file.read(12)
            if head[4:8] in _TOP_BOXES:
                _check_boxes(path, file, size)
            elif head.startswith(video_matroska.MAGIC):
                _check_elements(path, file)
            elif head.startswith(b"RIFF"):
                _check_form(path, head, size)
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder, not a video") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _check_boxes(path: Path, file: BinaryIO, size: int) -> None:
    """ISO/IEC 14496-12, section 4.2: size, kind, and a 64-bit size where the first is 1."""
    position = 0
    kinds = set()
    while position + _BOX_HEADER <= size:
        file.seek(position)
        header = file.read(_LARGE_BOX_HEADER)
        length = int.from_bytes(header[:4], "big")
        kinds.add(header[4:8])
        if length == 1 and len(header) == _LARGE_BOX_HEADER:
            length = struct.unpack(">Q", header[8:])[0]
        elif length == 0:
            length = size - position
        if length < _BOX_HEADER:
            # Padding after the last box, or something that only the demuxer can judge.
            break
        position += length
    if position > size and header[4:8] in _TOP_BOXES:
        raise InputError(_cut_off(path, position - size))
    if not kinds & {b"moov", b"moof"}:
        raise InputError(
            f"{path} has no index (moov): the recording or the copy was cut off before its end; "
            "get the whole file"
        )


def _check_elements(path: Path, file: BinaryIO) -> None:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            video_matroska.follow(data)
        except (video_matroska.ChainError, IndexError) as error:
            missing = getattr(error, "missing", 0)
            if missing:
                raise InputError(_cut_off(path, missing)) from error
            share = 100 * getattr(error, "position", 0) / len(data)
            raise InputError(
                f"{path} is damaged {share:.0f} % into the file: what follows there cannot be "
                "found, and so not be checked; get the whole file, or repair it"
            ) from error


def _check_form(path: Path, head: bytes, size: int) -> None:
    """RIFF: a size that leaves out its own header; some writers forget that it does."""
    end = int.from_bytes(head[4:8], "little")
    if end > size:
        raise InputError(_cut_off(path, end + _BOX_HEADER - size))


def _cut_off(path: Path, missing: int) -> str:
    return f"{path} is cut off: its last {missing:,} bytes are missing; get the whole file"
