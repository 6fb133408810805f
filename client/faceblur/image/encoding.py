"""How images are written: options that keep near the source, and what Pillow cannot write."""

from __future__ import annotations

import io
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from faceblur.errors import OutputError
from faceblur.image.chunks import Buffer, is_lossless_webp, with_png_chunks, with_tiff_tags
from faceblur.image.formats import BY_NAME, Format
from faceblur.image.metadata import Metadata
from faceblur.image.pillow import to_pillow
from faceblur.image.pixels import Array, flatten, has_alpha, to_uint8

logger = logging.getLogger(__name__)

_PAPER: Final = (255, 255, 255)
"""What is put behind transparency where a format has none: what viewers show."""

_ICC_TAG: Final = 34675
_XMP_TAG: Final = 700

_DEFLATE: Final = ("tiff_adobe_deflate", 8)
_TIFF_COMPRESSIONS: Final = {"raw": ("raw", 1), "tiff_lzw": ("tiff_lzw", 5)}
"""By the source's: Pillow's name and libtiff's code of a compression that loses nothing."""

_WITH_DPI: Final = frozenset({"JPEG", "PNG", "TIFF", "BMP"})


@dataclass(frozen=True)
class Encoding:
    """How a source was encoded, so that the result can be encoded alike.

    Attributes:
        jpeg: Options that give a JPEG the source's own quantisation, chroma and scan order.
        lossless: Whether a WebP was lossless.
        compression: Pillow's name of a TIFF's compression.
        loop: How often an animation repeats; 0 is for ever, None is once.
        default_image: Whether the first page of an animated PNG is not one of its frames.
        dpi: Dots per inch.
    """

    format: str
    jpeg: dict[str, Any] = field(default_factory=dict)
    lossless: bool = False
    compression: str = ""
    loop: int | None = None
    default_image: bool = False
    dpi: tuple[float, float] | None = None


def encoding_of(image: Image.Image, path: Path) -> Encoding:
    """Read how an opened image is encoded."""
    name = "JPEG" if image.format == "MPO" else str(image.format)
    info = image.info
    return Encoding(
        format=name,
        jpeg=_jpeg_options(image) if name == "JPEG" else {},
        lossless=name == "WEBP" and is_lossless_webp(path),
        compression=str(info.get("compression", "")) if name == "TIFF" else "",
        loop=info.get("loop"),
        default_image=bool(info.get("default_image")),
        dpi=_dpi(info.get("dpi")),
    )


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Encodes pages in one format, in memory.

    Some encoders never end when what they write to a disk fails, or lose the error; none is
    given a file.

    Attributes:
        target: The format to write.
        source: How the source was encoded.
        quality: 1–100 for formats that lose something; None keeps near the source.
        profile: ICC colour profile of the pixels.
        metadata: What else to write.
    """

    target: Format
    source: Encoding
    quality: int | None = None
    profile: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)

    def encode(self, pages: Iterable[Array], durations_s: Sequence[float]) -> list[Buffer]:
        """Encode pages (grey, BGR or BGRA), reduced to what the format can hold.

        Those of an animation are shown for `durations_s`, which is empty else.

        Returns:
            The content of the file, in parts.

        Raises:
            OutputError: There are none, or the format cannot hold them. Pillow and OpenCV raise
                errors of their own.
        """
        arrays = (self._fitted(page) for page in pages)
        try:
            first = next(arrays)
        except StopIteration:
            raise OutputError("there is no image to write") from None
        everything = chain([first], arrays)
        if first.dtype != np.uint8 and first.ndim == 3:
            return self._encode_deep(everything)
        return [self._encode(everything, durations_s)]

    def _fitted(self, pixels: Array) -> Array:
        target = self.target
        if has_alpha(pixels) and not target.alpha:
            logger.warning("%s has no transparency: it is replaced by white", target.name)
            pixels = flatten(pixels, _PAPER)
        if pixels.dtype == np.uint8 or target.name == "TIFF":
            return pixels
        if target.deep and pixels.dtype == np.uint16:
            return pixels
        logger.warning("%s is written with 8 bits to a colour", target.name)
        return to_uint8(pixels)

    def _encode(self, pages: Iterator[Array], durations_s: Sequence[float]) -> Buffer:
        images = (to_pillow(page) for page in pages)
        if self.target.name == "GIF":
            images = (_in_palette(image) for image in images)
        options = self._options()
        if self.target.name == "TIFF":
            return _tiff(images, options)
        first, *following = images
        if len(durations_s) > 1:
            transparent = any("transparency" in image.info for image in (first, *following))
            options |= self._animation(durations_s, transparent=transparent)
        if self.target.pages and following:
            options |= {"save_all": True, "append_images": following}
        content = io.BytesIO()
        first.save(content, self.target.name, **options)
        return content.getbuffer()

    def _options(self) -> dict[str, Any]:
        target, source = self.target, self.source
        options: dict[str, Any] = {
            "icc_profile": self.profile,
            "exif": self.metadata.exif or None,
            "xmp": self.metadata.xmp or None,
            "dpi": source.dpi if target.name in _WITH_DPI else None,
            "quality": self.quality or target.quality,
        }
        if target.name == "JPEG" and source.jpeg:
            options |= source.jpeg
            # Pillow scales the tables if there is a quality too.
            options["quality" if "qtables" in options and not self.quality else "qtables"] = None
        elif target.name == "WEBP":
            options["lossless"] = source.lossless and self.quality is None
        elif target.name == "TIFF":
            options["compression"] = _TIFF_COMPRESSIONS.get(source.compression, _DEFLATE)[0]
        elif target.name == "PNG" and self.metadata.xmp:
            text = PngImagePlugin.PngInfo()
            text.add_itxt("XML:com.adobe.xmp", self.metadata.xmp.decode("utf-8", "replace"))
            options["pnginfo"] = text
        return {name: value for name, value in options.items() if value is not None}

    def _animation(self, durations_s: Sequence[float], *, transparent: bool) -> dict[str, Any]:
        options: dict[str, Any] = {"duration": [round(value * 1000) for value in durations_s]}
        if self.target.name == "GIF":
            # Left standing, an earlier frame would show through the holes of the next.
            options["disposal"] = 2 if transparent else 1
        if self.target.name == "PNG":
            options["default_image"] = self.source.default_image
        if self.source.loop is not None:
            options["loop"] = self.source.loop
        return options

    def _encode_deep(self, pages: Iterator[Array]) -> list[Buffer]:
        """Encode 16-bit or floating point colours, which Pillow cannot hold."""
        if self.target.name == "TIFF":
            code = _TIFF_COMPRESSIONS.get(self.source.compression, _DEFLATE)[1]
            content = io.BytesIO()
            with TiffImagePlugin.AppendingTiffWriter(content, new=True) as writer:
                for page in pages:
                    writer.write(self._by_opencv(page, [cv2.IMWRITE_TIFF_COMPRESSION, code]))
                    writer.newFrame()
            wanted = {_ICC_TAG: self.profile, _XMP_TAG: self.metadata.xmp}
            tags = {tag: body for tag, body in wanted.items() if body}
            return with_tiff_tags(content.getbuffer(), tags)
        data = self._by_opencv(next(pages), [])
        chunks = self._png_chunks() if self.target.name == "PNG" else {}
        return with_png_chunks(data, chunks) if chunks else [data]

    def _by_opencv(self, pixels: Array, options: list[int]) -> memoryview:
        done, data = cv2.imencode(self.target.suffixes[0], pixels, options)
        if not done:
            raise OutputError(f"these pixels cannot be written as {self.target.name}")
        return memoryview(data.data)

    def _png_chunks(self) -> dict[bytes, bytes]:
        chunks: dict[bytes, bytes] = {}
        if self.profile:
            chunks[b"iCCP"] = b"ICC profile\0\0" + zlib.compress(self.profile)
        if self.metadata.exif:
            chunks[b"eXIf"] = self.metadata.exif.removeprefix(b"Exif\0\0")
        if self.metadata.xmp:
            chunks[b"iTXt"] = b"XML:com.adobe.xmp\0\0\0\0\0" + self.metadata.xmp
        return chunks


def _jpeg_options(image: Image.Image) -> dict[str, Any]:
    tables = getattr(image, "quantization", {})
    options: dict[str, Any] = {"progressive": bool(image.info.get("progressive"))}
    sampling = JpegImagePlugin.get_sampling(image)
    options["subsampling"] = sampling if sampling in (0, 1, 2) else 0
    if 1 <= len(tables) <= 4 and all(max(table) <= 255 for table in tables.values()):
        options["qtables"] = tables
    else:
        options["quality"] = BY_NAME["JPEG"].quality
    return options


def _dpi(value: object) -> tuple[float, float] | None:
    try:
        x, y = (float(part) for part in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 < x < 65536 and 1 < y < 65536 else None


def _tiff(images: Iterator[Image.Image], options: dict[str, Any]) -> Buffer:
    """Encode pages one at a time, each out of memory before the next is taken."""
    content = io.BytesIO()
    first_only: dict[str, Any] = {}
    exif, xmp = options.pop("exif", None), options.pop("xmp", None)
    if exif or xmp:
        tags = Image.Exif()
        if exif:
            tags.load(exif)
        if xmp:
            tags[_XMP_TAG] = xmp
        # libtiff, which compresses for Pillow, cannot write directories within directories.
        first_only = {"exif": tags, "compression": "raw"}
    with TiffImagePlugin.AppendingTiffWriter(content, new=True) as writer:
        for image in images:
            image.save(writer, "TIFF", **options | first_only)
            writer.newFrame()
            first_only = {}
    return content.getbuffer()


def _in_palette(image: Image.Image) -> Image.Image:
    """Reduce to a palette; exactly, when there are no more than 255 colours."""
    if image.mode == "L":
        return image
    indexed = image.convert("RGB").quantize(255, dither=Image.Dither.NONE)
    if image.mode == "RGBA":
        hole = image.getchannel("A").point(lambda alpha: 255 if alpha < 128 else 0)
        if hole.getbbox():
            indexed.paste(255, mask=hole)
            indexed.info["transparency"] = 255
    return indexed
