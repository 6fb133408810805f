"""Parts of image files that no library writes or tells of: WebP and PNG chunks, TIFF tags."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Final, TypeAlias

Buffer: TypeAlias = "bytes | bytearray | memoryview"

_UNDEFINED: Final = 7
"""TIFF's type of bytes that mean what the tag says."""


def is_lossless_webp(path: Path) -> bool:
    """Whether the first image in a WebP file is a VP8L bitstream."""
    with path.open("rb") as file:
        position = 12
        while True:
            file.seek(position)
            head = file.read(8)
            if len(head) < 8 or head[:4] == b"VP8 ":
                return False
            if head[:4] == b"VP8L":
                return True
            # A frame holds chunks of its own behind 16 bytes.
            size = struct.unpack("<I", head[4:])[0]
            position += 24 if head[:4] == b"ANMF" else 8 + size + size % 2


def with_png_chunks(data: memoryview, chunks: dict[bytes, bytes]) -> list[Buffer]:
    """Put chunks behind the header of a PNG file."""
    header_end = 8 + 25
    parts: list[Buffer] = [data[:header_end]]
    for name, body in chunks.items():
        parts += [struct.pack(">I", len(body)), name, body]
        parts.append(struct.pack(">I", zlib.crc32(name + body)))
    return [*parts, data[header_end:]]


def with_tiff_tags(data: memoryview, tags: dict[int, bytes]) -> list[Buffer]:
    """Give every page of a TIFF file (little-endian, not BigTIFF) more tags of bytes.

    The values and the new directories follow behind all that is there.
    """
    if not tags:
        return [data]
    head, tail = bytearray(data[:8]), bytearray(len(data) % 2)
    places = {}
    for tag, body in tags.items():
        places[tag] = struct.pack("<HHII", tag, _UNDEFINED, len(body), len(data) + len(tail))
        tail += body + bytes(len(body) % 2)
    link, where = head, 4
    offset = struct.unpack_from("<I", data, 4)[0]
    while offset:
        count = struct.unpack_from("<H", data, offset)[0]
        end = offset + 2 + 12 * count
        entries = [bytes(data[at : at + 12]) for at in range(offset + 2, end, 12)]
        entries = sorted([*entries, *places.values()], key=lambda entry: entry[1::-1])
        struct.pack_into("<I", link, where, len(data) + len(tail))
        tail += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
        link, where = tail, len(tail) - 4
        offset = struct.unpack_from("<I", data, end)[0]
    return [head, data[8:], tail]
