"""Follow the chain of elements through a Matroska or WebM file.

Where the chain is broken, a demuxer looks for the next place that makes sense, or ends the video
there, and says nothing: seconds of a video can be missing. Data inside the elements is not looked
at here; the decoder notices when that is damaged.
"""

from __future__ import annotations

import mmap
from typing import Final

MAGIC: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = 0x18538067
_CLUSTER: Final = 0x1F43B675
_TRACKS: Final = 0x1654AE6B
_TRACK_ENTRY: Final = 0xAE
_TRACK_NUMBER: Final = 0xD7
_BLOCK_GROUP: Final = 0xA0
_BLOCKS: Final = (0xA3, 0xA1)
_MASTERS: Final = frozenset((_CLUSTER, _TRACKS, _TRACK_ENTRY, _BLOCK_GROUP))
"""Elements that are looked into: their own elements follow, then whatever follows them."""

_UNKNOWN: Final = -1


class ChainError(ValueError):
    """The chain of elements is broken.

    Attributes:
        position: Byte of the file where the last sound element ends.
        missing: Bytes by which the file is shorter than it says; 0 if that is not what is wrong.
    """

    def __init__(self, position: int, missing: int = 0) -> None:
        super().__init__(f"broken at byte {position}")
        self.position = position
        self.missing = missing


def follow(data: mmap.mmap) -> None:
    """Follow the elements of the first segment from its start to its end.

    A recording that was never finished has a segment without a size. It may end anywhere.

    Args:
        data: The file, which starts with `MAGIC`.

    Raises:
        ChainError: An element is not where the one before it ends, or the end is missing.
    """
    # RFC 8794: an EBML header, then the document, here a segment (RFC 9559).
    start, length = _header(data, 0)[1:]
    kind, position, length = _header(data, start + length)
    if kind != _SEGMENT:
        raise ChainError(start)
    finished = length != _UNKNOWN
    end = position + length if finished else len(data)
    if end > len(data):
        raise ChainError(position, missing=end - len(data))
    tracks: set[int] = set()
    while position < end:
        try:
            kind, start, length = _header(data, position)
        except (ChainError, IndexError):
            if not finished and end - position < 12:
                return
            raise ChainError(position) from None
        if kind in _MASTERS:
            position = start
            continue
        if length == _UNKNOWN or (start + length > end and finished):
            raise ChainError(position)
        if kind == _TRACK_NUMBER:
            tracks.add(int.from_bytes(data[start : start + length], "big"))
        elif kind in _BLOCKS and start < end and _track(data, start) not in tracks:
            # A demuxer would leave it out.
            raise ChainError(position)
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
        raise ChainError(position)
    length = 9 - first.bit_length()
    value = int.from_bytes(data[position : position + length], "big")
    if not keep_marker:
        value &= (1 << 7 * length) - 1
    return value, position + length
