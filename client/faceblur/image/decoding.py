"""How images are read: with Pillow, and with OpenCV what Pillow cannot hold."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from faceblur.errors import InputError, install_line
from faceblur.files import check_ordinary
from faceblur.image.claims import UNKNOWN, claimed_size
from faceblur.image.endings import with_end
from faceblur.image.formats import HEIF_AVAILABLE, RAW_SUFFIXES, opened_formats
from faceblur.image.metadata import READ_ERRORS, orientation_of
from faceblur.image.pillow import from_pillow
from faceblur.image.pixels import Array, hide_transparent, upright

MAX_PIXELS = 500_000_000
"""Pixels of one page, at most; a file that claims more is refused before it is decoded."""

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})

_RAW = (
    "it is a raw file of a camera, of which at most a preview can be read: export it as TIFF or "
    "JPEG"
)

_SUBFILE_TYPE = 254
_REDUCED_COPY = 1
_BITS_PER_SAMPLE = 258
_SUB_DIRECTORIES = 330
_DNG_VERSION = 50706

_SUPPORTED = ("uint8", "uint16", "float32")

_pixel_limit_lock = Lock()


def check_file(path: Path) -> None:
    """Refuse what cannot be an image.

    Raises:
        InputError: There is no such file, or it is a folder, or it is empty.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder, not an image")
        check_ordinary(path)
        size = path.stat().st_size
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if size == 0:
        raise InputError(f"{path} is empty (0 bytes)")


@contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into an InputError that names the file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except MemoryError as error:
        raise InputError(f"cannot read {path}: there is not enough memory") from error
    except READ_ERRORS as error:
        system = getattr(error, "strerror", None)
        reason = system or "the file is damaged or cut off"
        raise InputError(f"cannot read {path}: {reason}") from error


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image | None]:
    """Open an image with Pillow; None when Pillow does not know its format.

    Raises:
        InputError: The image is too large, or needs a reader that is not installed.
    """
    if path.suffix.lower() in RAW_SUFFIXES:
        raise InputError(_RAW)
    try:
        with _own_pixel_limit():
            image = _open(path)
    except UnidentifiedImageError:
        if not HEIF_AVAILABLE and _is_heif(path):
            raise InputError(
                f"it is a HEIC image; to read it, run: {install_line('heic')}"
            ) from None
        yield None
        return
    with image:
        _check_size(*image.size)
        if _is_raw(image, path):
            raise InputError(_RAW)
        yield image


def held_pixels(path: Path) -> int:
    """How many pixels are in memory at once while a file is masked, by what it claims.

    Those of its largest page; of an animation, all frames, which are encoded together.

    Raises:
        InputError: It is too large, damaged or no image that can be read here.
    """
    with naming_errors(path), open_image(path) as image:
        if image is None:
            width, height = claimed_size(path)
            return width * height
        indices = page_indices(image)
        if image.format != "TIFF":
            return image.width * image.height * len(indices)
        most = 0
        for index in indices:
            with _own_pixel_limit():
                image.seek(index)
            _check_size(*image.size)
            most = max(most, image.width * image.height)
        return most


def page_indices(image: Image.Image) -> list[int]:
    """Which of the images in a file are its frames or pages, in order."""
    if image.format not in ("GIF", "WEBP", "PNG", "AVIF", "TIFF"):
        return [image.tell()]
    indices = list(range(getattr(image, "n_frames", 1)))
    if image.format != "TIFF":
        return indices
    full = [index for index in indices if not _is_reduced_copy(image, index)]
    return full or indices


def decode_page(image: Image.Image, path: Path, index: int) -> Array:
    """Decode one page, upright.

    Raises:
        InputError: The page is too large. Damaged files raise one of `READ_ERRORS`.
    """
    with _own_pixel_limit():
        if image.tell() != index:
            image.seek(index)
    _check_size(*image.size)
    pixels, orientation = _decode_deep(path, index) if _is_deep(image, path) else (None, 1)
    if pixels is None:
        image.load()
        pixels, orientation = from_pillow(image), orientation_of(image)
    pixels = upright(pixels, orientation)
    hide_transparent(pixels)
    return pixels


def decode_by_opencv(path: Path) -> Array:
    """Decode an image that Pillow does not know, such as Radiance HDR.

    Raises:
        InputError: OpenCV does not know it either.
    """
    _check_size(*claimed_size(path))
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype.name not in _SUPPORTED:
        raise InputError(UNKNOWN)
    hide_transparent(pixels)
    return pixels


def _decode_deep(path: Path, index: int) -> tuple[Array | None, int]:
    """Decode more than 8 bits to a colour, or None where OpenCV cannot; and the orientation."""
    with _own_pixel_limit():
        checked = _open(path)
        checked.seek(index)
    # Pillow notices files that are cut off where OpenCV fills in grey, so it goes first. Its
    # pixels are out of memory before those of OpenCV are in it.
    with checked:
        checked.load()
        orientation, name = orientation_of(checked), checked.format
    del checked
    whole = with_end(path)
    # OpenCV crashes on names that are not in the encoding of the system.
    data = np.fromfile(path, np.uint8) if whole is None else np.frombuffer(whole, np.uint8)
    if name == "TIFF":
        # Turned upright by OpenCV, as Pillow turns it.
        _, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED, range=(index, index + 1))
        pixels = pages[0] if pages else None
    else:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        if pixels is None and name == "PNG":
            raise InputError("it is damaged or cut off")  # Pillow would drop half of the bits.
    if pixels is None or pixels.dtype.name not in _SUPPORTED:
        return None, orientation
    return pixels, orientation


def _open(path: Path) -> Image.Image:
    """Open a file with Pillow; one that lacks nothing but its end with that added."""
    whole = with_end(path)
    return Image.open(path if whole is None else io.BytesIO(whole), formats=opened_formats())


def _is_deep(image: Image.Image, path: Path) -> bool:
    """Whether colours have more bits than Pillow keeps."""
    if image.mode not in ("RGB", "RGBA", "LA"):
        return False
    if image.format == "TIFF":
        bits: tuple[int, ...] = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))  # type: ignore[attr-defined]
        return max(bits) > 8
    if image.format not in ("PNG", "PPM", "JPEG2000"):
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    if image.format == "PNG":
        return head[24] == 16 and getattr(image, "n_frames", 1) == 1
    if image.format == "PPM":
        values = re.match(rb"P6\s+(?:#.*\s+)*\d+\s+\d+\s+(\d+)", head)
        return values is not None and int(values[1]) > 255
    size = head.find(b"\xff\x51")  # SIZ, the marker that describes a JPEG 2000 codestream
    return size >= 0 and len(head) > size + 40 and head[size + 40] & 0x7F > 7


def _is_raw(image: Image.Image, path: Path) -> bool:
    """Whether a file holds what a sensor saw, beside the small image that can be read."""
    if image.format != "TIFF":
        return False
    tags = image.tag_v2  # type: ignore[attr-defined]
    with path.open("rb") as file:
        canon = file.read(10)[8:] == b"CR"
    preview_first = bool(tags.get(_SUBFILE_TYPE, 0) & _REDUCED_COPY) and _SUB_DIRECTORIES in tags
    return canon or preview_first or _DNG_VERSION in tags


def _is_reduced_copy(image: Image.Image, index: int) -> bool:
    with _own_pixel_limit():
        image.seek(index)
    kind = image.tag_v2.get(_SUBFILE_TYPE, 0)  # type: ignore[attr-defined]
    return bool(kind & _REDUCED_COPY)


def _is_heif(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(
            f"it has {width} × {height} pixels, more than {MAX_PIXELS // 1_000_000} million"
        )


@contextmanager
def _own_pixel_limit() -> Iterator[None]:
    """Suspend Pillow's limit, which ordinary panoramas exceed: `MAX_PIXELS` takes its place."""
    with _pixel_limit_lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
