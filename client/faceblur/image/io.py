"""Still images, animations and paged documents: in from a file, out to a file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from faceblur.errors import InputError, OutputError, install_line
from faceblur.files import atomic_path
from faceblur.image.decoding import (
    check_file,
    decode_by_opencv,
    decode_page,
    naming_errors,
    open_image,
    page_indices,
)
from faceblur.image.encoding import Encoder, Encoding, encoding_of
from faceblur.image.endings import lacks_end
from faceblur.image.formats import BY_SUFFIX, FORMATS, HEIF_AVAILABLE, Format
from faceblur.image.metadata import READ_ERRORS, Metadata, metadata_of, usable_profile
from faceblur.image.pixels import Array

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Page:
    """One image of a file.

    Attributes:
        pixels: (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA; uint8, uint16 or float32;
            upright, writable.
        pts_s: When it appears, in seconds from the start of an animation; otherwise 0.
        duration_s: How long it is shown; None when the file is not an animation.
    """

    pixels: Array
    pts_s: float = 0.0
    duration_s: float | None = None


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image file that has been opened.

    Attributes:
        width: Pixels across the first page, upright; the height likewise.
        page_count: Frames of an animation or pages of a document; 1 for an ordinary image.
        is_animation: Whether it has frames, which follow each other in time.
        pages: Gives each page once, decoded when it is asked for. Raises InputError where the
            file turns out to be damaged. Replace it by the masked pages to write them.
        profile: ICC colour profile of the pixels, if there is one.
        metadata: EXIF and XMP, as far as they may be kept.
    """

    path: Path
    width: int
    height: int
    page_count: int
    pages: Iterator[Page]
    encoding: Encoding
    profile: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)
    is_animation: bool = False


def read_image(path: Path) -> ImageFile:
    """Open an image file and decode its first page.

    EXIF orientation is applied, palettes and CMYK become BGR, colour under fully transparent
    pixels is removed. Of a photo that carries other photos (MPO, HEIC collections) the main one
    is taken; reduced copies in a TIFF are left out.

    Raises:
        InputError: There is no such file, it is empty, damaged, cut off, too large or no image
            that can be read here.
    """
    path = Path(path)
    check_file(path)
    with naming_errors(path), open_image(path) as image:
        if image is None:
            return image_of(decode_by_opencv(path), path)
        if lacks_end(path):
            logger.warning("%s lacks its end; what there is of it is whole, and is masked", path)
        count = getattr(image, "n_frames", 1)
        if image.format in ("MPO", "HEIF") and count > 1:
            logger.warning("%s holds %d images: all but the main one are left out", path, count)
        indices = page_indices(image)
        first = Page(decode_page(image, path, indices[0]))
        animated = len(indices) > 1 and image.format != "TIFF"
        if animated:
            first = Page(first.pixels, 0.0, image.info.get("duration", 0) / 1000)
        return ImageFile(
            path=path,
            width=first.pixels.shape[1],
            height=first.pixels.shape[0],
            page_count=len(indices),
            pages=chain([first], _following(path, indices[1:], first)),
            encoding=encoding_of(image, path),
            profile=usable_profile(
                image.info.get("icc_profile"), 1 if first.pixels.ndim == 2 else 3
            ),
            metadata=metadata_of(image),
            is_animation=animated,
        )


def write_image(
    path: Path,
    image: ImageFile,
    *,
    quality: int | None = None,
    keep_metadata: bool = False,
    before_commit: Callable[[Path], None] | None = None,
) -> None:
    """Write pages to an image file, encoded much like the file they come from.

    A JPEG made from a JPEG gets the same quantisation and chroma subsampling; a lossless WebP or
    TIFF stays lossless; colour profile, resolution, durations and repetitions are kept, all other
    metadata and every embedded thumbnail is dropped. The file appears under its name when it is
    complete, or not at all.

    Args:
        path: Its suffix decides the format.
        image: Its `pages` are written, encoded like the file they come from. What has been taken
            from the pages of an opened file is gone: give it new ones with
            `dataclasses.replace(image, pages=masked)`. Errors that the pages raise are passed on.
        quality: 1–100 for JPEG, WebP, AVIF and HEIC; None stays near the source's own.
        keep_metadata: Write EXIF (with place and time) and XMP too. Thumbnails and maker notes
            are dropped even so.
        before_commit: See `faceblur.files.atomic_path`.

    Raises:
        InputError: The name is that of the source or has a suffix that cannot be written, the
            format cannot hold so many pages, or the quality is out of range.
        OutputError: The file cannot be written.
    """
    path = Path(path)
    target = check_writable(path, image)
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(f"a quality of {quality} does not exist: use 1 to 100")
    encoder = Encoder(
        target=target,
        source=image.encoding,
        quality=quality,
        profile=image.profile,
        metadata=image.metadata if keep_metadata else Metadata(),
    )
    with atomic_path(path, before_commit=before_commit) as temporary:
        pages: Iterable[Page] = image.pages
        durations_s: list[float] = []
        if target.name != "TIFF":
            # Encoders of animations hold all frames anyway. Pages of a document may be many and
            # large, and are encoded one at a time.
            pages = list(image.pages)
            durations_s = [page.duration_s for page in pages if page.duration_s is not None]
        try:
            parts = encoder.encode((page.pixels for page in pages), durations_s)
        except InputError:
            raise  # a page that cannot be read is not one that cannot be written
        except READ_ERRORS as error:
            raise OutputError(f"cannot write {path}: {_reason(error)}") from error
        except OutputError as error:
            raise OutputError(f"cannot write {path}: {error}") from error
        with temporary.open("wb") as file:
            file.writelines(parts)


def check_writable(path: Path, image: ImageFile) -> Format:
    """Find the format that a name asks for, before any work is done.

    Raises:
        InputError: As `write_image`.
    """
    path = Path(path)
    target = BY_SUFFIX.get(path.suffix.lower())
    if target is None:
        known = " ".join(entry.suffixes[0] for entry in FORMATS)
        kind = f"{path.suffix} images" if path.suffix else "an image without a suffix"
        raise InputError(f"cannot write {kind}: name {path.name} with one of {known}")
    if target.name == "HEIF" and not HEIF_AVAILABLE:
        raise InputError(f"cannot write HEIC images; first run: {install_line('heic')}")
    if path.exists() and path.samefile(image.path):
        raise InputError(f"{path} is the source itself: choose another name for the result")
    if image.page_count > 1 and not target.pages:
        several = " ".join(entry.suffixes[0] for entry in FORMATS if entry.pages)
        raise InputError(
            f"{image.path} has {image.page_count} pages and {path.suffix} holds one: "
            f"use one of {several}"
        )
    return target


def image_of(pixels: Array, path: Path | None = None) -> ImageFile:
    """An image of one page; its pixels come from a file, or from none."""
    path = path or Path()
    return ImageFile(
        path=path,
        width=pixels.shape[1],
        height=pixels.shape[0],
        page_count=1,
        pages=iter([Page(pixels)]),
        encoding=Encoding(format=path.suffix.lstrip(".").upper()),
    )


def _following(path: Path, indices: list[int], first: Page) -> Iterator[Page]:
    """Decode the pages after the first, one at a time."""
    if not indices:
        return
    page = first
    with naming_errors(path), open_image(path) as image:
        if image is None:
            raise InputError("it has changed while it was read")
        for index in indices:
            pixels = decode_page(image, path, index)
            if first.duration_s is None:
                page = Page(pixels)
            else:
                start_s = page.pts_s + (page.duration_s or 0)
                page = Page(pixels, start_s, image.info.get("duration", 0) / 1000)
            yield page


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
