"""What a JPEG says of itself, read before anything of it is decoded."""

from __future__ import annotations

import re
import struct

MAX_SCANS = 64
"""A progressive image has about ten; each costs a pass over all pixels."""

_FRAMES = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive"}
_OTHER_FRAMES = frozenset({0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})

_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
"""After coded pixels: neither a stuffed 255 nor a restart marker."""


def read_size(data: bytes, *, max_pixels: int) -> tuple[int, int]:
    """Walk through the segments of a JPEG (ISO/IEC 10918-1, annex B), to its end.

    Args:
        data: The file.
        max_pixels: More are refused.

    Returns:
        Width and height of the coded image; orientation marks are ignored.

    Raises:
        ValueError: It is cut off, is no JPEG, or one that is not taken: more than `max_pixels`,
            more than `MAX_SCANS` scans, CMYK, or neither baseline nor progressive with 8 bits.
    """
    if data[:2] != bytes((0xFF, _START)):
        raise ValueError("the image is not a JPEG")
    size: tuple[int, int] | None = None
    scans, at = 0, 2
    while True:
        marker, at = _marker(data, at)
        if marker == _END:
            break
        if marker in _ALONE:
            continue
        segment = _segment(data, at)
        if marker in _FRAMES:
            size = _frame(segment, max_pixels)
        elif marker in _OTHER_FRAMES:
            raise ValueError("the JPEG is neither baseline nor progressive")
        at += 2 + len(segment)
        if marker == _SCAN:
            scans += 1
            if scans > MAX_SCANS:
                raise ValueError(f"the JPEG has more than {MAX_SCANS} scans")
            following = _NEXT_MARKER.search(data, at)
            if following is None:
                raise ValueError("the JPEG is cut off")
            at = following.start()
    if size is None or not scans:
        raise ValueError("the JPEG has no pixels")
    return size


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """The code of the marker that is due, and where it ends."""
    end = at
    while data[end : end + 1] == b"\xff":
        end += 1
    if end >= len(data):
        raise ValueError("the JPEG is cut off")
    if end == at:
        raise ValueError("the JPEG is damaged")
    return data[end], end + 1


def _segment(data: bytes, at: int) -> bytes:
    length = int.from_bytes(data[at : at + 2], "big")
    if at + max(2, length) > len(data):
        raise ValueError("the JPEG is cut off")
    if length < 2:
        raise ValueError("the JPEG is damaged")
    return data[at + 2 : at + length]


def _frame(segment: bytes, max_pixels: int) -> tuple[int, int]:
    if len(segment) < 6:
        raise ValueError("the JPEG is damaged")
    bits, height, width, components = struct.unpack_from(">BHHB", segment)
    if not width or not height:
        raise ValueError("the JPEG has no pixels")
    if width * height > max_pixels:
        raise ValueError(f"the JPEG has {width} x {height} pixels; at most {max_pixels} are taken")
    if bits != 8:
        raise ValueError(f"the JPEG has {bits} bits a sample; 8 are taken")
    if components not in (1, 3):
        raise ValueError(f"the JPEG has {components} colours (CMYK?); send RGB or grey")
    return width, height
