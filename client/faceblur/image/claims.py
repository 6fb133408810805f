"""What images that Pillow does not know claim to be, before they are decoded."""

from __future__ import annotations

import re
from pathlib import Path

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from faceblur.errors import InputError
from faceblur.image.metadata import READ_ERRORS

UNKNOWN = "its content is not an image of a known format"

_HEAD_BYTES = 1 << 16
_SIZES = {
    # A size that stands before the format is a remark.
    b"#?R": re.compile(
        rb"^FORMAT=32-bit_rle_rgbe\n\n-Y +(?P<height>\d{1,9}) +\+X +(?P<width>\d{1,9})\s", re.M
    ),
    b"P7": re.compile(rb"WIDTH +(?P<width>\d{1,9})\s+HEIGHT +(?P<height>\d{1,9})\s"),
    b"PF": re.compile(rb"PF\s+(?P<width>\d{1,9})\s+(?P<height>\d{1,9})\s"),
    b"Pf": re.compile(rb"Pf\s+(?P<width>\d{1,9})\s+(?P<height>\d{1,9})\s"),
}
"""Where formats that Pillow does not know have their size, by their first bytes."""

_BIG_TIFF = 43
_WIDTH, _HEIGHT = 256, 257
_SUN = b"\x59\xa6\x6a\x95"


def claimed_size(path: Path) -> tuple[int, int]:
    """The width and height that a file claims which OpenCV decodes whatever they are.

    Raises:
        InputError: It is none of those.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(_SUN):
        return int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
    if head.startswith(b"BM"):
        width, height = (head[i : i + 4] for i in (18, 22))
        # A negative height is of one that begins above.
        return int.from_bytes(width, "little"), abs(int.from_bytes(height, "little", signed=True))
    if head[:2] in (b"II", b"MM"):
        return _tiff_size(path)
    for start, pattern in _SIZES.items():
        if head.startswith(start) and (match := pattern.search(head)) is not None:
            return int(match["width"]), int(match["height"])
    raise InputError(UNKNOWN)


def _tiff_size(path: Path) -> tuple[int, int]:
    """The size of the first page of a TIFF whose samples Pillow cannot hold.

    Raises:
        InputError: It has none.
    """
    with path.open("rb") as file:
        try:
            head = file.read(8)
            tags = ImageFileDirectory_v2(head + file.read(8) if head[2] == _BIG_TIFF else head)
            file.seek(tags.next)
            tags.load(file)
            return int(tags[_WIDTH]), int(tags[_HEIGHT])
        except (*READ_ERRORS, TypeError) as error:
            raise InputError(UNKNOWN) from error
