"""Which image formats are read and written, and what each can hold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

try:
    import pillow_heif

    pillow_heif.register_heif_opener()
    HEIF_AVAILABLE = True
except ImportError:
    HEIF_AVAILABLE = False


@dataclass(frozen=True)
class Format:
    """What a file format can hold.

    Attributes:
        name: Pillow's name.
        suffixes: Lower case, the usual one first.
        alpha: Whether there is transparency.
        deep: Whether there are 16-bit colours.
        pages: Whether there are several frames or pages.
        quality: The quality used where neither the caller nor the source says; None where the
            format loses nothing.
    """

    name: str
    suffixes: tuple[str, ...]
    alpha: bool = False
    deep: bool = False
    pages: bool = False
    quality: int | None = None


FORMATS = (
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), quality=92),
    Format("PNG", (".png", ".apng"), alpha=True, deep=True, pages=True),
    Format("WEBP", (".webp",), alpha=True, pages=True, quality=90),
    Format("TIFF", (".tif", ".tiff"), alpha=True, deep=True, pages=True),
    Format("GIF", (".gif",), alpha=True, pages=True),
    Format("BMP", (".bmp", ".dib")),
    Format("AVIF", (".avif", ".avifs"), alpha=True, pages=True, quality=85),
    Format("HEIF", (".heic", ".heif", ".hif"), alpha=True, quality=90),
    Format("JPEG2000", (".jp2", ".j2k", ".jpx"), alpha=True),
    Format("PPM", (".ppm", ".pgm", ".pnm"), deep=True),
    Format("TGA", (".tga",), alpha=True),
)
"""Formats that are written."""

BY_NAME = {entry.name: entry for entry in FORMATS}
BY_SUFFIX = {suffix: entry for entry in FORMATS for suffix in entry.suffixes}


def is_still(path: Path) -> bool:
    """Whether the suffix is of a format that holds no animation."""
    entry = BY_SUFFIX.get(path.suffix.lower())
    return entry is not None and (not entry.pages or entry.name == "TIFF")


# EPS would run another program, WMF is drawn by Windows; the others hold no pixels Pillow reads.
_NOT_OPENED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})

_READ_BY_OPENCV = frozenset({".hdr", ".pic", ".pfm", ".ras", ".sr"})

RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc"}
    | {".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl"}
    | {".sr2", ".srf", ".srw", ".x3f"}
)
"""Raw files of cameras, of which Pillow would read no more than a small preview."""


@cache
def opened_formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read."""
    Image.init()
    return tuple(sorted(set(Image.OPEN) - _NOT_OPENED))


@cache
def readable_suffixes() -> frozenset[str]:
    """Suffixes, in lower case, of files that are taken for images.

    HEIC is among them where its reader is missing too: such a file is reported, not skipped.
    """
    opened = set(opened_formats())
    by_pillow = {s for s, name in Image.registered_extensions().items() if name in opened}
    return frozenset(by_pillow) | _READ_BY_OPENCV | frozenset(BY_SUFFIX)
