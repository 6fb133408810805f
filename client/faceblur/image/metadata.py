"""What an image file carries beside its pixels, reduced to what may be passed on."""

from __future__ import annotations

import logging
import re
import struct
from dataclasses import dataclass

import cv2
from PIL import Image

logger = logging.getLogger(__name__)

READ_ERRORS = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    ZeroDivisionError,
    cv2.error,
    struct.error,
)
"""What Pillow and OpenCV raise on files that are damaged."""

_ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
_GPS_IFD = 0x8825

_DESCRIPTIVE = frozenset(
    {
        0x010E,  # ImageDescription
        0x010F,  # Make
        0x0110,  # Model
        0x0131,  # Software
        0x0132,  # DateTime
        0x013B,  # Artist
        0x013C,  # HostComputer
        0x4746,  # Rating
        0x8298,  # Copyright
        *range(0x9C9B, 0x9CA0),  # XPTitle … XPSubject
    }
)
"""Tags of the main directory that describe the image; the others describe the file."""

_NOT_KEPT = frozenset(
    {
        0x927C,  # MakerNote: holds previews
        0xA002,  # PixelXDimension, of the image before it was turned
        0xA003,  # PixelYDimension
        0xA005,  # Interoperability directory
    }
)

MAX_VALUE_BYTES = 4096
"""A longer value may be an image in itself."""

_XMP_WITH_IMAGES = re.compile(rb"thumbnail|GImage|GDepth|GCamera|GContainer|hdrgm", re.IGNORECASE)
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation(?:="|>))\d')

_CHANNELS = {b"GRAY": 1, b"RGB ": 3}


@dataclass(frozen=True)
class Metadata:
    r"""Descriptions that may be kept: never a thumbnail, and upright like the pixels.

    Attributes:
        exif: EXIF block, starting with "Exif\0\0"; empty when there is none.
        xmp: XMP packet; empty when there is none.
    """

    exif: bytes = b""
    xmp: bytes = b""


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation that still has to be applied to a loaded image, 1 to 8."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except READ_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def metadata_of(image: Image.Image) -> Metadata:
    """Collect what may be kept, without thumbnails, maker notes and orientation."""
    return Metadata(exif=_exif(image), xmp=_xmp(image))


def usable_profile(profile: object, channels: int) -> bytes | None:
    """A colour profile if it fits pixels of so many colour channels (1 or 3)."""
    if isinstance(profile, bytes) and _CHANNELS.get(profile[16:20]) == channels:
        return profile
    return None


def _exif(image: Image.Image) -> bytes:
    kept = Image.Exif()
    try:
        source = image.getexif()
        kept.update({tag: source[tag] for tag in _DESCRIPTIVE if tag in source})
        found = bool(kept)
        for directory in (_EXIF_IFD, _GPS_IFD):
            facts = {
                tag: value
                for tag, value in source.get_ifd(directory).items()
                if _is_small_fact(tag, value)
            }
            kept.get_ifd(directory).update(facts)
            found = found or bool(facts)
        return kept.tobytes() if found else b""
    except READ_ERRORS:
        logger.info("the EXIF data is damaged: it is dropped")
        return b""


def _is_small_fact(tag: int, value: object) -> bool:
    if tag in _NOT_KEPT:
        return False
    return not isinstance(value, (bytes, str)) or len(value) <= MAX_VALUE_BYTES


def _xmp(image: Image.Image) -> bytes:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    data = packet.encode() if isinstance(packet, str) else bytes(packet)
    if _XMP_WITH_IMAGES.search(data):
        logger.info("the XMP data describes or holds other images: it is dropped")
        return b""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", data)
