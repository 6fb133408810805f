"""What is known of an image beside its pixels: kept, applied or dropped."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from image_files import SRGB, Array, copy, photo, pixels_of
from PIL import Image, PngImagePlugin

from faceblur.image.io import Page, read_image, write_image

# Pillow warns before it raises, and of tags that are damaged.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" '
    b'dc:creator="Somebody"/></x:xmpmeta>'
)


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x010F] = "Cameramaker"
    block.get_ifd(0x8769).update({0x9003: "2024:05:06 07:08:09", 0x927C: b"\xff\xd8preview" * 9})
    block.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 17.0, 40.0)})
    return block


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic"])
def test_every_orientation_comes_out_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    def undo(pixels: Array) -> Array:
        turn = {1: 0, 2: 0, 3: 2, 4: 2, 5: 3, 6: 1, 7: 1, 8: 3}[orientation]
        stored = np.rot90(pixels, turn)
        return stored[:, ::-1] if orientation in (2, 4, 5, 7) else stored

    upright = photo()
    path = tmp_path / f"turned{suffix}"
    stored = Image.fromarray(np.ascontiguousarray(undo(upright)))
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {"quality": 95}
    stored.save(path, exif=exif(orientation).tobytes(), **options)
    image = copy(path, tmp_path / f"out{suffix}", keep_metadata=True)
    assert (image.width, image.height) == (96, 64)
    for file in (path, tmp_path / f"out{suffix}"):
        assert np.abs(pixels_of(file)[:, :, ::-1].astype(int) - upright).mean() < 4
    assert Image.open(tmp_path / f"out{suffix}").getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_deep_images_come_out_upright_too(tmp_path: Path, orientation: int) -> None:
    upright = photo()[:, :, ::-1].astype(np.uint16) * 257
    stored = np.ascontiguousarray(np.rot90(upright, {1: 0, 3: 2, 6: 1}[orientation]))
    block = exif(orientation).tobytes().removeprefix(b"Exif\0\0")
    encoded = cv2.imencode(".png", stored)[1].tobytes()
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + block))
    (tmp_path / "turned.png").write_bytes(encoded[:33] + chunk + encoded[33:])
    np.testing.assert_array_equal(pixels_of(tmp_path / "turned.png"), upright)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic"])
def test_the_colour_profile_is_kept(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    Image.fromarray(photo()).save(path, icc_profile=SRGB)
    copy(path, tmp_path / f"out{suffix}")
    assert Image.open(tmp_path / f"out{suffix}").info["icc_profile"] == SRGB


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_colour_profile_of_deep_images_is_kept(tmp_path: Path, suffix: str) -> None:
    plain = tmp_path / "plain.png"
    Image.fromarray(photo()).save(plain, icc_profile=SRGB)
    pages = [Page(photo().astype(np.uint16) * 257 + 1), Page(photo().astype(np.uint16) * 129)]
    count = 2 if suffix == ".tif" else 1
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    write_image(first, replace(read_image(plain), pages=iter(pages[:count])))
    copy(first, second)
    image = read_image(second)
    assert image.profile == SRGB
    assert image.page_count == count
    for page, expected in zip(image.pages, pages, strict=False):
        np.testing.assert_array_equal(page.pixels, expected.pixels)


def with_thumbnail(block: bytes) -> bytes:
    """Add a second directory with a JPEG thumbnail to an EXIF block, as cameras do."""
    buffer = io.BytesIO()
    Image.fromarray(photo(32, 24)).save(buffer, "JPEG", quality=50)
    thumbnail = buffer.getvalue()
    body = bytearray(block.removeprefix(b"Exif\0\0"))
    count = struct.unpack_from(">H", body, 8)[0]
    struct.pack_into(">I", body, 10 + 12 * count, len(body))
    start = len(body) + 2 + 3 * 12 + 4
    body += struct.pack(">H", 3)
    body += struct.pack(">HHIHH", 0x0103, 3, 1, 6, 0)
    body += struct.pack(">HHII", 0x0201, 4, 1, start)
    body += struct.pack(">HHII", 0x0202, 4, 1, len(thumbnail))
    return b"Exif\0\0" + bytes(body) + bytes(4) + thumbnail


SECRETS = (b"Cameramaker", b"2024:05:06", b"Somebody", b"a comment", b"preview")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic"])
@pytest.mark.parametrize("keep", [False, True])
def test_metadata_is_dropped_unless_asked_for_and_thumbnails_always(
    tmp_path: Path, suffix: str, keep: bool
) -> None:
    source = tmp_path / "camera.jpg"
    block = with_thumbnail(exif(6).tobytes())
    Image.fromarray(photo()).save(source, exif=block, xmp=XMP, comment=b"a comment")
    camera = source.read_bytes()
    assert all(secret in camera for secret in SECRETS)
    assert camera.count(b"\xff\xd8\xff") == 2
    target = tmp_path / f"out{suffix}"
    copy(source, target, keep_metadata=keep)
    result = target.read_bytes()
    assert b"preview" not in result
    assert b"a comment" not in result
    assert result.count(b"\xff\xd8\xff") == (suffix == ".jpg")
    written = Image.open(target)
    written.load()
    block_out = written.getexif()
    assert 0x0112 not in block_out or block_out[0x0112] == 1
    if keep:
        assert block_out[0x010F] == "Cameramaker"
        assert block_out.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
        assert block_out.get_ifd(0x8825)[2] == (48.0, 51.0, 29.0)
        assert b'tiff:Orientation="1"' in result
        assert b"Somebody" in result
    else:
        assert not any(secret in result for secret in SECRETS)
        assert not block_out.get_ifd(0x8825)


def test_xmp_that_holds_images_is_never_kept(tmp_path: Path) -> None:
    source = tmp_path / "camera.jpg"
    Image.fromarray(photo()).save(source, xmp=b"<xmp:Thumbnails>/9j/4AAQ</xmp:Thumbnails>")
    copy(source, tmp_path / "out.jpg", keep_metadata=True)
    assert b"/9j/4AAQ" not in (tmp_path / "out.jpg").read_bytes()


def test_text_in_a_png_is_dropped(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Somebody")
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    source = tmp_path / "in.png"
    Image.fromarray(photo()).save(source, pnginfo=text)
    copy(source, tmp_path / "out.png")
    assert b"Somebody" not in (tmp_path / "out.png").read_bytes()


def test_the_other_photos_in_a_photo_are_dropped(tmp_path: Path) -> None:
    source = tmp_path / "phone.jpg"
    others = [Image.fromarray(photo()[::-1].copy()), Image.fromarray(photo(32, 24))]
    Image.fromarray(photo()).save(source, "MPO", save_all=True, append_images=others)
    assert Image.open(source).format == "MPO"
    image = copy(source, tmp_path / "out.jpg")
    assert image.page_count == 1
    result = Image.open(tmp_path / "out.jpg")
    assert result.format == "JPEG"
    assert (tmp_path / "out.jpg").read_bytes().count(b"\xff\xd8\xff") == 1


def test_damaged_exif_does_not_stop_a_good_image(tmp_path: Path) -> None:
    source = tmp_path / "in.jpg"
    Image.fromarray(photo()).save(source, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xee" * 30)
    copy(source, tmp_path / "out.jpg", keep_metadata=True)
    assert (tmp_path / "out.jpg").exists()
