"""Image files whose last bytes are missing, though nothing of the image is."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PIL import Image

from faceblur.image.metadata import READ_ERRORS

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = bytes(4) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_JPEG_2000_SCAN: Final = b"\xff\x93"
_OTHER_BITS: Final = (b"\xfe\xf7", b"\x9c\x35\xe1", b"\x4b\xd2\x07\x68", b"\xc9\x13\x6e\x3a\x85")
_WEBP_PIXELS: Final = {b"VP8 ", b"VP8L", b"ANMF"}
_TAIL_BYTES: Final = 64


def with_end(path: Path) -> bytes | None:
    """A file with the end that it lacks, as viewers show it.

    Only what says that the image is over may be missing: where pixels are missing, the file is
    left to its decoder, which refuses it.

    Returns:
        The whole content; None for a file that lacks no end, or more than that.

    Raises:
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(max(0, size - _TAIL_BYTES))
        complete = _completer(head, file.read(), size)
    return None if complete is None else complete(path.read_bytes())


def lacks_end(path: Path) -> bool:
    """Whether a file lacks its end, and nothing more; see `with_end`."""
    return with_end(path) is not None


def _completer(head: bytes, tail: bytes, size: int) -> Callable[[bytes], bytes | None] | None:
    """What completes a file that seems to lack its end."""
    if head[:3] == b"\xff\xd8\xff":
        return None if _JPEG_END in tail else _jpeg
    if head[:8] == _PNG:
        return None if _PNG_END in tail else _png
    if head[:4] == b"GIF8":
        return None if b";" in tail else lambda data: data + b";"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return None if _riff_end(head) <= size else _webp
    if head[:4] == b"\xff\x4f\xff\x51" or head[4:8] == b"jP  ":
        return None if _JPEG_END in tail else _jpeg_2000
    return None


def _jpeg(data: bytes) -> bytes | None:
    if data.rfind(_JPEG_END) > data.rfind(_JPEG_SCAN):
        return None  # Something else follows the image.
    data = data.removesuffix(b"\xff")
    whole = data + _JPEG_END
    # Bits that decoders make up for missing ones would show.
    pixels = _pixels(whole)
    if pixels is None:
        return None
    others = (data + _more(n, _OTHER_BITS[n]) + _JPEG_END for n in range(len(_OTHER_BITS)))
    same = all(_pixels(other) == pixels for other in others)
    return whole if same else None


def _more(number: int, bits: bytes) -> bytes:
    """The same bits after no restart marker and after each, from another one on each time."""
    bits *= _TAIL_BYTES
    markers = (0xD0 + (2 * number + step) % 8 for step in range(8))
    return bits + b"".join(bytes([0xFF, marker]) + bits for marker in markers)


def _jpeg_2000(data: bytes) -> bytes | None:
    """The lengths of all parts are written down, and checked by the decoder."""
    return data.removesuffix(b"\xff") + _JPEG_END if _JPEG_2000_SCAN in data else None


def _png(data: bytes) -> bytes | None:
    position, names = len(_PNG), []
    while position + 12 <= len(data):
        size = struct.unpack_from(">I", data, position)[0]
        if position + 12 + size > len(data):
            break
        names.append(data[position + 4 : position + 8])
        position += 12 + size
    rest = data[position:]
    if b"IDAT" not in names or b"IEND" in names or rest != _PNG_END[: len(rest)]:
        return None
    return data[:position] + _PNG_END


def _webp(data: bytes) -> bytes | None:
    """What follows the image describes it, and is dropped where it is cut off."""
    position, names = 12, []
    while position + 8 <= len(data):
        size = struct.unpack_from("<I", data, position + 4)[0]
        end = position + 8 + size
        if end > len(data):
            break
        names.append(data[position : position + 4])
        position = end + size % 2
    cut = data[position : position + 4]
    if not _WEBP_PIXELS & set(names) or cut not in (b"", b"EXIF", b"XMP ", b"ICCP"):
        return None
    # The byte that makes the last size even may be what is missing.
    body = data[12:position].ljust(position - 12, b"\0")
    return data[:4] + struct.pack("<I", 4 + len(body)) + data[8:12] + body


def _riff_end(data: bytes) -> int:
    return 8 + int(struct.unpack_from("<I", data, 4)[0])


def _pixels(data: bytes) -> bytes | None:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return bytes(image.tobytes())
    except READ_ERRORS:
        return None
