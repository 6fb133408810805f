"""MP4 files changed in place, into what no encoder here would write."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path


def set_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Change how the first track of an MP4 file is to be shown: a, b, c, d of its matrix."""
    data = bytearray(path.read_bytes())
    # ISO/IEC 14496-12, section 8.3.2: 40 bytes of a version 0 header precede the matrix.
    start = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 0x10000 for value in matrix)
    values = (a, b, 0, c, d, 0, 0, 0, 0x40000000)
    data[start : start + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(data)


def set_edits(path: Path, kind: bytes, edits: Sequence[tuple[float, float]]) -> None:
    """Give a track of an MP4 file another edit list; its index must lie at the end.

    Args:
        path: The file.
        kind: The track's handler, b"soun" or b"vide".
        edits: Start and end in seconds of each part that is played, in the track's own time.
    """
    data = path.read_bytes()
    start = data.rindex(b"moov") - 4
    moov = data[start:]
    scale = int.from_bytes(moov[moov.index(b"mvhd") + 16 :][:4], "big")
    traks = moov.split(b"trak")
    (number,) = (n for n, trak in enumerate(traks) if kind in trak[trak.find(b"hdlr") :][:16])
    trak = traks[number]
    ticks = int.from_bytes(trak[trak.index(b"mdhd") + 16 :][:4], "big")
    first = trak.index(b"elst") - 4
    size = int.from_bytes(trak[first : first + 4], "big")
    # ISO/IEC 14496-12, section 8.6.6: how long, from where, and at which rate.
    entries = b"".join(
        struct.pack(">IiI", round((end - begin) * scale), round(begin * ticks), 0x10000)
        for begin, end in edits
    )
    elst = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edits)) + entries
    grown = len(elst) - size
    edts = first - 8
    trak = trak[:edts] + _grown(trak[edts:first], grown) + elst + trak[first + size :]
    traks[number] = trak
    before = traks[number - 1]
    traks[number - 1] = before[:-4] + _grown(before[-4:], grown)
    path.write_bytes(data[:start] + _grown(b"trak".join(traks), grown))


def _grown(box: bytes, by: int) -> bytes:
    return struct.pack(">I", int.from_bytes(box[:4], "big") + by) + box[4:]
