"""Tell a file that was cut off from one that is complete.

A demuxer reads what is there and then reports the end, as if the video had ended. The containers
say how long they should be, so that is compared before anything is decoded.
"""

from __future__ import annotations

import logging
import mmap
import struct
from pathlib import Path
from typing import BinaryIO, Final

from faceblur.errors import InputError
from faceblur.files import check_ordinary

logger = logging.getLogger(__name__)

_BOX_HEADER: Final = 8
_LARGE_BOX_HEADER: Final = 16
_TOP_BOXES: Final = frozenset(
    (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"sidx", b"pnot")
)

_FLV_MAGIC: Final = b"FLV"
_FLV_TAGS: Final = (b"\x08", b"\x09", b"\x12")

# Elements of Matroska (RFC 9559).
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = 0x18538067
_CLUSTER: Final = 0x1F43B675
_TRACKS: Final = 0x1654AE6B
_TRACK_ENTRY: Final = 0xAE
_TRACK_NUMBER: Final = 0xD7
_BLOCK_GROUP: Final = 0xA0
_BLOCKS: Final = (0xA3, 0xA1)
_MASTERS: Final = frozenset((_CLUSTER, _TRACKS, _TRACK_ENTRY, _BLOCK_GROUP))
"""Elements that are entered: their own elements follow, then whatever follows them."""

_UNKNOWN: Final = -1


def check_complete(path: Path) -> None:
    """Refuse a file whose container says that it should be longer.

    MP4 and its kin (every box at the top must end within the file, one of them is the index),
    Matroska and WebM (every element must start where the last one ends) and AVI are checked;
    others pass, as do recordings that were never told how long they are.

    Raises:
        InputError: The file is empty, cut off or damaged, or cannot be read.
    """
    try:
        check_ordinary(path)
        size = path.stat().st_size
        with path.open("rb") as file:
            if size == 0:
                raise InputError(f"{path} is empty: get the file again")
            head = file.read(12)
            if head[4:8] in _TOP_BOXES:
                _check_boxes(path, file, size)
            elif head.startswith(_EBML):
                _check_elements(path, file)
            elif head.startswith(_FLV_MAGIC):
                _check_tags(path, file)
            elif head.startswith(b"RIFF"):
                _check_form(path, head, size)
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder, not a video") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _check_boxes(path: Path, file: BinaryIO, size: int) -> None:
    """ISO/IEC 14496-12, section 4.2: size, kind, and a 64-bit size where the first is 1."""
    position = 0
    kinds: list[bytes] = []
    while position + _BOX_HEADER <= size:
        file.seek(position)
        header = file.read(_LARGE_BOX_HEADER)
        length = int.from_bytes(header[:4], "big")
        kinds.append(header[4:8])
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
    if not {b"moov", b"moof"} & {*kinds}:
        raise InputError(
            f"{path} has no index (moov): the recording or the copy was cut off before its end; "
            "get the whole file"
        )
    if kinds.count(b"moov") > 1 and b"moof" not in kinds:
        _tell_joined(path)


def _check_tags(path: Path, file: BinaryIO) -> None:
    """FLV: a header, then tags, each with its length before and behind it."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = int.from_bytes(data[5:9], "big") + 4
        while data[position : position + 1] in _FLV_TAGS:
            position += 11 + int.from_bytes(data[position + 1 : position + 4], "big") + 4
        if data[position : position + 3] == _FLV_MAGIC:
            _tell_joined(path)


def _tell_joined(path: Path) -> None:
    logger.warning(
        "%s holds several recordings, joined byte by byte: only the first can be read, and the "
        "others are missing in the result; mask each by itself, before they are joined",
        path,
    )


def _check_form(path: Path, head: bytes, size: int) -> None:
    """RIFF: a size that leaves out its own header; some writers forget that it does."""
    end = int.from_bytes(head[4:8], "little")
    if end > size:
        raise InputError(_cut_off(path, end + _BOX_HEADER - size))


def _cut_off(path: Path, missing: int) -> str:
    return f"{path} is cut off: its last {missing:,} bytes are missing; get the whole file"


def _check_elements(path: Path, file: BinaryIO) -> None:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            _follow_elements(data)
        except (_ChainError, IndexError) as error:
            position, missing = 0, 0
            if isinstance(error, _ChainError):
                position, missing = error.position, error.missing
            if missing:
                raise InputError(_cut_off(path, missing)) from error
            share = 100 * position / len(data)
            raise InputError(
                f"{path} is damaged {share:.0f} % into the file: what follows there cannot be "
                "found, and so not be checked; get the whole file, or repair it"
            ) from error


class _ChainError(ValueError):
    """The chain of elements is broken.

    Attributes:
        position: Byte of the file where the last sound element ends.
        missing: Bytes by which the file is shorter than it says; 0 if that is not what is wrong.
    """

    def __init__(self, position: int, missing: int = 0) -> None:
        super().__init__(f"broken at byte {position}")
        self.position = position
        self.missing = missing


def _follow_elements(data: mmap.mmap) -> None:
    """Follow the elements of the first segment from its start to its end.

    A recording that was never finished has a segment without a size. It may end anywhere.

    Raises:
        _ChainError: An element is not where the one before it ends, or the end is missing.
    """
    # RFC 8794: an EBML header, then the document, here a segment (RFC 9559).
    start, length = _header(data, 0)[1:]
    kind, position, length = _header(data, start + length)
    if kind != _SEGMENT:
        raise _ChainError(start)
    finished = length != _UNKNOWN
    end = position + length if finished else len(data)
    if end > len(data):
        raise _ChainError(position, missing=end - len(data))
    tracks: set[int] = set()
    while position < end:
        try:
            kind, start, length = _header(data, position)
        except (_ChainError, IndexError):
            if not finished and end - position < 12:
                return
            raise _ChainError(position) from None
        if kind in _MASTERS:
            position = start
            continue
        if length == _UNKNOWN or (start + length > end and finished):
            raise _ChainError(position)
        if kind == _TRACK_NUMBER:
            tracks.add(int.from_bytes(data[start : start + length], "big"))
        elif kind in _BLOCKS and start < end and _track(data, start) not in tracks:
            # A demuxer would leave it out.
            raise _ChainError(position)
        position = start + length


def _header(data: mmap.mmap, position: int) -> tuple[int, int, int]:
    """Identifier of an element, where its content starts, and how long that is."""
    kind, size_at = _number(data, position, keep_marker=True)
    length, start = _number(data, size_at, keep_marker=False)
    if length == (1 << 7 * (start - size_at)) - 1:
        length = _UNKNOWN
    return kind, start, length


def _track(data: mmap.mmap, position: int) -> int:
    """The number of the track that a block belongs to, with which it starts."""
    return _number(data, position, keep_marker=False)[0] if data[position] else 0


def _number(data: mmap.mmap, position: int, *, keep_marker: bool) -> tuple[int, int]:
    """A variable-length integer and where it ends; identifiers keep the bit that marks length."""
    first = data[position]
    if first == 0:
        raise _ChainError(position)
    length = 9 - first.bit_length()
    value = int.from_bytes(data[position : position + length], "big")
    if not keep_marker:
        value &= (1 << 7 * length) - 1
    return value, position + length
