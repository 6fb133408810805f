"""Image files: what is kept, what is dropped, and what is refused."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pillow_heif
import pytest
from PIL import Image, ImageCms, JpegImagePlugin, PngImagePlugin
from skimage import data

from faceblur.errors import InputError, OutputError, install_line
from faceblur.image.decoding import MAX_PIXELS
from faceblur.image.formats import BY_SUFFIX, FORMATS, readable_suffixes
from faceblur.image.io import ImageFile, Page, read_image, write_image
from faceblur.image.jpeg import jpeg
from faceblur.image.pixels import rgb8

Array = npt.NDArray[Any]

# Pillow warns before it raises, and of tags that are damaged.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" '
    b'dc:creator="Somebody"/></x:xmpmeta>'
)
ALL_SUFFIXES = [entry.suffixes[0] for entry in FORMATS]


def photo(width: int = 96, height: int = 64) -> Array:
    """A part of a real photo, RGB, not square."""
    part = data.astronaut()[40:240, 100:400]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)


def pixels_of(path: Path) -> Array:
    (page,) = read_image(path).pages
    return page.pixels


def copy(source: Path, target: Path, **options: Any) -> ImageFile:
    image = read_image(source)
    write_image(target, image, **options)
    return image


def partials(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


# Formats and depths


@pytest.mark.parametrize("suffix", ALL_SUFFIXES)
def test_every_format_goes_out_and_comes_back(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "photo.png"
    Image.fromarray(photo()).save(source)
    target = tmp_path / f"out{suffix}"
    copy(source, target)
    image = read_image(target)
    (page,) = image.pages
    assert (image.width, image.height, image.page_count) == (96, 64, 1)
    assert image.encoding.format == BY_SUFFIX[suffix].name
    assert page.pixels.shape == (64, 96, 3)
    assert np.abs(page.pixels[:, :, ::-1].astype(int) - photo()).mean() < 4
    assert suffix in readable_suffixes()


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [
        *[(suffix, "uint8", n) for suffix in (".png", ".tif", ".webp", ".jp2") for n in (3, 4)],
        *[(suffix, "uint8", 1) for suffix in (".png", ".tif", ".bmp", ".tga", ".ppm")],
        (".tga", "uint8", 4),
        *[(suffix, "uint16", n) for suffix in (".png", ".tif") for n in (1, 3, 4)],
        (".ppm", "uint16", 3),
        *[(".tif", "float32", n) for n in (1, 3)],
    ],
)
def test_pixels_without_loss_stay_exactly_the_same(
    tmp_path: Path, suffix: str, dtype: str, channels: int
) -> None:
    rng = np.random.default_rng(0)
    values = rng.random((40, 50, channels)) * {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    pixels = np.maximum(values, 1e-3).astype(dtype)
    pixels[..., 3:] = np.maximum(pixels[..., 3:], 1)
    pixels = pixels[:, :, 0] if channels == 1 else pixels
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    start = tmp_path / "start.png"
    Image.fromarray(photo()).save(start)
    image = read_image(start)
    if suffix == ".webp":
        image = replace(image, encoding=replace(image.encoding, lossless=True))
    write_image(first, replace(image, pages=iter([Page(pixels)])))
    copy(first, second)
    for path in (first, second):
        result = pixels_of(path)
        assert result.dtype == pixels.dtype
        np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("1", 1), ("L", 1), ("P", 3), ("LA", 4), ("PA", 4), ("CMYK", 3), ("YCbCr", 3), ("LAB", 3)],
)
def test_other_colour_spaces_become_grey_or_bgr(tmp_path: Path, mode: str, channels: int) -> None:
    first = Image.fromarray(photo())
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(first, srgb, lab, outputMode="LAB")
    else:
        image = first.convert("P").convert(mode) if mode == "PA" else first.convert(mode)
    assert image is not None
    path = tmp_path / ("x.png" if mode in ("1", "P", "PA", "LA") else "x.tif")
    if mode == "PA":
        image = first.convert("P")
        image.info["transparency"] = 7
    image.save(path)
    pixels = pixels_of(path)
    assert (pixels.shape[2] if pixels.ndim == 3 else 1) == channels
    if mode not in ("1", "PA"):
        grey = np.asarray(first.convert("L")).astype(int)
        shown = rgb8(pixels).mean(axis=2)
        assert np.abs(shown - grey).mean() < 25


def test_a_cmyk_photo_goes_through_its_profile_and_drops_it(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.fromarray(photo()).convert("CMYK").save(path, icc_profile=b"not a profile" * 20)
    assert read_image(path).profile is None
    copy(path, tmp_path / "out.jpg")
    assert Image.open(tmp_path / "out.jpg").mode == "RGB"


def test_colour_under_full_transparency_does_not_leave(tmp_path: Path) -> None:
    path = tmp_path / "cutout.png"
    rgba = np.dstack([photo(), np.full((64, 96), 255, np.uint8)])
    rgba[10:20, 10:20, 3] = 0
    rgba[30, 30, 3] = 1
    Image.fromarray(rgba).save(path)
    copy(path, tmp_path / "out.png")
    result = np.asarray(Image.open(tmp_path / "out.png"))
    assert not result[10:20, 10:20].any()
    assert (result[30, 30] == rgba[30, 30]).all()


def test_transparency_becomes_white_where_a_format_has_none(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    Image.fromarray(np.full((20, 20, 4), (0, 0, 200, 128), np.uint8)).save(path)
    copy(path, tmp_path / "out.ppm")
    assert pixels_of(tmp_path / "out.ppm")[5, 5].tolist() == [227, 127, 127]


def test_sixteen_bits_become_eight_where_a_format_has_no_more(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), (photo()[:, :, ::-1].astype(np.uint16) * 257))
    copy(path, tmp_path / "out.bmp")
    np.testing.assert_array_equal(pixels_of(tmp_path / "out.bmp")[:, :, ::-1], photo())


def test_reads_what_only_opencv_knows(tmp_path: Path) -> None:
    radiance = (photo()[:, :, ::-1] / 64).astype(np.float32)
    cv2.imwrite(str(tmp_path / "sun.hdr"), radiance)
    pixels = pixels_of(tmp_path / "sun.hdr")
    assert pixels.dtype == np.float32
    assert np.abs(pixels - radiance).mean() < 0.05
    assert rgb8(pixels).max() == 255


# What the detector sees


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("uint8", 1), ("uint16", 257), ("uint16", 16), ("float32", 1 / 255), ("float32", 300)],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_detector_sees_eight_bits_of_any_depth(dtype: str, scale: float, channels: int) -> None:
    bright = photo().copy()
    bright[:4] = 255
    bgra = np.dstack([bright[:, :, ::-1], np.zeros((64, 96), np.uint8)])
    pixels = (bgra.astype(np.float64) * scale).astype(dtype)[:, :, :channels]
    seen = rgb8(pixels[:, :, 0] if channels == 1 else pixels)
    assert seen.dtype == np.uint8
    assert seen.shape == (64, 96, 3)
    expected = bright[:, :, [2, 2, 2]] if channels == 1 else bright
    assert np.abs(seen.astype(int) - expected).max() <= 2


def test_the_detector_sees_a_dark_image_as_it_is() -> None:
    assert not rgb8(np.zeros((8, 8), np.uint16)).any()
    assert not rgb8(np.full((8, 8, 3), np.nan, np.float32)).any()


@pytest.mark.parametrize("shape", [(4, 4, 2), (0, 4, 3), (4,)])
def test_the_detector_is_shown_images_only(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="is no image"):
        rgb8(np.zeros(shape, np.uint8))


# Orientation, colour profile, metadata


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


# Quality


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_keeps_its_own_quality(
    tmp_path: Path, quality: int, subsampling: int, progressive: bool
) -> None:
    source, target = tmp_path / "in.jpg", tmp_path / "out.jpg"
    Image.fromarray(photo(384, 256)).save(
        source, quality=quality, subsampling=subsampling, progressive=progressive
    )
    copy(source, target)
    before, after = Image.open(source), Image.open(target)
    assert isinstance(before, JpegImagePlugin.JpegImageFile)
    assert isinstance(after, JpegImagePlugin.JpegImageFile)
    assert after.quantization == before.quantization
    assert JpegImagePlugin.get_sampling(after) == subsampling
    assert bool(after.info.get("progressive")) == progressive
    assert target.stat().st_size == pytest.approx(source.stat().st_size, rel=0.1)
    difference = np.asarray(after).astype(int) - np.asarray(before)
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".heic"])
def test_quality_can_be_chosen(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"in{suffix}"
    Image.fromarray(photo(384, 256)).save(source)
    sizes = []
    for quality in (10, 90):
        target = tmp_path / f"{quality}{suffix}"
        copy(source, target, quality=quality)
        sizes.append(target.stat().st_size)
    assert sizes[0] < sizes[1] / 2


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_that_does_not_exist_is_refused(tmp_path: Path, quality: int) -> None:
    Image.fromarray(photo()).save(tmp_path / "in.jpg")
    with pytest.raises(InputError, match="use 1 to 100"):
        copy(tmp_path / "in.jpg", tmp_path / "out.jpg", quality=quality)


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_stays_as_lossless_as_it_was(tmp_path: Path, lossless: bool) -> None:
    source, target = tmp_path / "in.webp", tmp_path / "out.webp"
    # A profile puts the pixels behind other chunks.
    Image.fromarray(photo()).save(source, lossless=lossless, icc_profile=SRGB)
    image = copy(source, target)
    assert image.encoding.lossless is lossless
    assert np.array_equal(pixels_of(source), pixels_of(target)) is lossless


@pytest.mark.parametrize(
    ("before", "after"),
    [("raw", "raw"), ("tiff_lzw", "tiff_lzw"), ("jpeg", "tiff_adobe_deflate")],
)
def test_a_tiff_stays_compressed_without_loss(tmp_path: Path, before: str, after: str) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    Image.fromarray(photo()).save(source, compression=before, dpi=(300, 300))
    copy(source, target)
    assert Image.open(target).info["compression"] == after
    assert Image.open(target).info["dpi"] == (300, 300)
    np.testing.assert_array_equal(pixels_of(source), pixels_of(target))


# Animations and pages


def frames(count: int = 4, alpha: bool = False) -> list[Image.Image]:
    """Frames of few colours, so that a GIF holds them exactly."""
    result = []
    for index in range(count):
        rgb = (np.roll(photo(), 9 * index, axis=1) // 64) * 64 + 10
        opacity = np.full((64, 96), 255, np.uint8)
        opacity[:20, : 10 + 10 * index] = 0
        full = np.dstack([rgb, opacity])
        full[opacity == 0] = 0
        result.append(Image.fromarray(full if alpha else rgb))
    return result


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
@pytest.mark.parametrize("alpha", [False, True])
def test_an_animation_keeps_frames_durations_and_repetitions(
    tmp_path: Path, suffix: str, alpha: bool
) -> None:
    source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    first, *rest = frames(alpha=alpha)
    durations = [100, 40, 250, 70]
    options: dict[str, Any] = {"loop": 3} if suffix != ".avif" else {"quality": 95}
    if suffix == ".webp":
        options["lossless"] = True
    if suffix == ".gif":
        options["disposal"] = 2
    first.save(source, save_all=True, append_images=rest, duration=durations, **options)
    image = read_image(source)
    pages = list(image.pages)
    assert image.page_count == 4
    assert [page.duration_s for page in pages] == [0.1, 0.04, 0.25, 0.07]
    assert [page.pts_s for page in pages] == pytest.approx([0, 0.1, 0.14, 0.39])
    write_image(target, replace(image, pages=iter(pages)))
    again = read_image(target)
    assert again.encoding.loop == image.encoding.loop
    for page, old, frame in zip(again.pages, pages, frames(alpha=alpha), strict=True):
        assert page.duration_s == old.duration_s
        expected = np.asarray(frame)[:, :, [2, 1, 0, 3][: 4 if alpha else 3]]
        shown = page.pixels if alpha else page.pixels[:, :, :3]
        if suffix == ".avif":
            assert np.abs(shown.astype(int) - expected).mean() < 9
        else:
            np.testing.assert_array_equal(shown, expected)


def test_every_frame_of_an_animation_can_be_changed(tmp_path: Path) -> None:
    source, target = tmp_path / "in.gif", tmp_path / "out.gif"
    first, *rest = frames()
    first.save(source, save_all=True, append_images=rest, duration=50)
    image = read_image(source)

    def blackened() -> Iterator[Page]:
        for page in image.pages:
            page.pixels[20:40, 20:40] = 0
            yield page

    write_image(target, replace(image, pages=blackened()))
    results = [page.pixels for page in read_image(target).pages]
    assert len(results) == 4
    assert all(not result[20:40, 20:40, :3].any() for result in results)


def test_an_animation_in_many_colours_stays_close(tmp_path: Path) -> None:
    start, target = tmp_path / "in.webp", tmp_path / "out.gif"
    moving = [Image.fromarray(np.roll(photo(), 9 * i, axis=1)) for i in range(3)]
    moving[0].save(start, save_all=True, append_images=moving[1:], duration=50, lossless=True)
    copy(start, target)
    for page, frame in zip(read_image(target).pages, moving, strict=True):
        difference = page.pixels[:, :, 2::-1].astype(int) - np.asarray(frame)
        assert np.abs(difference).mean() < 6


def tiff_pages() -> list[Array]:
    grey = np.asarray(Image.fromarray(photo()).convert("L"))
    return [photo()[:, :, ::-1], grey, photo(40, 120)[:, :, ::-1]]


def test_pages_of_a_tiff_keep_size_and_kind_and_reduced_copies_are_dropped(
    tmp_path: Path,
) -> None:
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    kinds = [Image.fromarray(photo()), Image.fromarray(photo()).convert("L")]
    small = Image.fromarray(photo(24, 16))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    kinds += [small, Image.fromarray(photo(40, 120))]
    kinds[0].save(source, save_all=True, append_images=kinds[1:])
    assert Image.open(source).n_frames == 4  # type: ignore[attr-defined]
    image = copy(source, target)
    assert image.page_count == 3
    again = read_image(target)
    for page, expected in zip(again.pages, tiff_pages(), strict=True):
        assert page.duration_s is None
        np.testing.assert_array_equal(page.pixels, expected)


def test_pages_of_a_document_are_taken_one_at_a_time(tmp_path: Path) -> None:
    source = tmp_path / "in.tif"
    scans = [Image.fromarray(photo()) for _ in range(5)]
    scans[0].save(source, save_all=True, append_images=scans[1:])
    image = read_image(source)
    taken: list[weakref.ref[Array]] = []
    alive: list[int] = []

    def counted() -> Iterator[Page]:
        for page in image.pages:
            taken.append(weakref.ref(page.pixels))
            yield page
            del page
            alive.append(sum(pixels() is not None for pixels in taken))

    write_image(tmp_path / "out.tif", replace(image, pages=counted()))
    assert len(alive) == 5
    assert max(alive) <= 2


def test_pages_that_were_taken_are_gone(tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    Image.fromarray(photo()).save(source)
    image = read_image(source)
    list(image.pages)
    with pytest.raises(OutputError, match="no image to write"):
        write_image(tmp_path / "out.png", image)
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


# Bad input


def damaged_half(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def encoded(path: Path) -> Path:
    Image.fromarray(photo(384, 256)).save(path)
    return path


@pytest.mark.parametrize("suffix", ALL_SUFFIXES)
def test_a_file_that_is_cut_off_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = encoded(tmp_path / f"cut{suffix}")
    whole = path.read_bytes()
    for part in (0.95, 0.5, 0.1):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(InputError, match=f"cannot read .*cut{suffix}: "):
            list(read_image(path).pages)


def test_a_page_that_cannot_be_read_is_not_one_that_cannot_be_written(tmp_path: Path) -> None:
    path, out = tmp_path / "pages.tif", tmp_path / "out.tif"
    pages = [Image.fromarray(photo(64, 64)) for _ in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")
    whole = bytearray(path.read_bytes())
    with Image.open(path) as image:
        image.seek(2)
        start = image.tag_v2[273][0]  # type: ignore[attr-defined]
    whole[start : start + 200] = bytes(200)
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r"^cannot read .*pages\.tif: the file is damaged"):
        write_image(out, read_image(path))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("suffix", "missing", "options"),
    [
        (".jpg", (1, 2), {}),
        (".jpg", (1, 2), {"progressive": True}),
        (".jpg", (1, 2), {"restart_marker_blocks": 3}),
        (".png", (1, 4, 12), {}),
        (".gif", (1, 2), {}),
        (".jp2", (1, 2), {}),
        (".webp", (1, 300), {"xmp": b"<x:xmpmeta/>" * 30, "lossless": True}),
    ],
)
def test_a_image_that_lacks_nothing_but_its_end_is_shown_with_a_warning(
    tmp_path: Path,
    suffix: str,
    missing: Iterable[int],
    options: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(photo()).save(path, **options)
    whole, expected = path.read_bytes(), pixels_of(path)
    assert not caplog.records
    for count in missing:
        caplog.clear()
        path.write_bytes(whole[:-count])
        np.testing.assert_array_equal(pixels_of(path), expected)
        (warning,) = caplog.messages
        assert f"cut{suffix} lacks its end" in warning


def test_sixteen_bits_stay_sixteen_without_the_end(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), photo().astype(np.uint16) * 257 + 1)
    whole, expected = path.read_bytes(), pixels_of(path)
    assert expected.dtype == np.uint16
    for missing in (1, 12):
        path.write_bytes(whole[:-missing])
        np.testing.assert_array_equal(pixels_of(path), expected)
    path.write_bytes(whole[:-16])
    with pytest.raises(InputError, match="cut off"):
        read_image(path)


def test_an_animated_webp_without_its_last_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.webp"
    first, *rest = frames()
    first.save(path, save_all=True, append_images=rest)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match="cannot read"):
        list(read_image(path).pages)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 3}, {"subsampling": 0}]
)
def test_a_jpeg_without_its_end_is_no_half_grey_image(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(photo(384, 256)).save(path, **options)
    whole, expected = path.read_bytes(), pixels_of(path)
    for missing in range(3, 40):
        # Bits that mean nothing may be missing, and no others.
        path.write_bytes(whole[:-missing])
        with suppress(InputError):
            np.testing.assert_array_equal(pixels_of(path), expected)
    for missing in (10, 100, len(whole) - 300):
        path.write_bytes(whole[:-missing])
        with pytest.raises(InputError, match="damaged or cut off"):
            read_image(path)


def test_deep_images_that_are_cut_off_are_errors(tmp_path: Path) -> None:
    for suffix in (".png", ".tif", ".ppm"):
        path = tmp_path / f"deep{suffix}"
        cv2.imwrite(str(path), photo().astype(np.uint16) * 257)
        damaged_half(path)
        with pytest.raises(InputError, match="cannot read"):
            read_image(path)


def test_an_animation_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    for suffix in (".gif", ".webp", ".png"):
        source = tmp_path / f"in{suffix}"
        first, *rest = frames()
        first.save(source, save_all=True, append_images=rest, duration=50)
        damaged_half(source)
        with pytest.raises(InputError, match="cannot read"):
            copy(source, tmp_path / f"out{suffix}")
        assert not (tmp_path / f"out{suffix}").exists()
        assert partials(tmp_path) == []


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".gif", ".bmp", ".heic"])
def test_damage_anywhere_is_an_error_of_ours_or_none(tmp_path: Path, suffix: str) -> None:
    path = encoded(tmp_path / f"damaged{suffix}")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for attempt in range(40):
        damaged = bytearray(whole)
        # The first attempts hit the headers.
        reach = 200 if attempt < 25 else len(damaged)
        for position in rng.integers(0, reach, 3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        with suppress(InputError):
            for page in read_image(path).pages:
                assert page.pixels.size > 0


def nothing(path: Path) -> None:
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b""), r"photo\.jpg is empty"),
        (lambda path: path.write_text("Dear diary\n" * 50), "not an image of a known format"),
        (lambda path: path.write_bytes(b"\xff"), "not an image of a known format"),
        (lambda path: path.mkdir(), r"photo\.jpg is a folder"),
        (nothing, r"there is no file .*photo\.jpg"),
        (
            lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
            "known",
        ),
    ],
)
def test_what_is_no_image_is_told_in_one_sentence(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / "photo.jpg"
    make(path)
    with pytest.raises(InputError, match=reason) as raised:
        read_image(path)
    assert "\n" not in str(raised.value)


def test_the_name_does_not_matter_for_reading(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "really_a_png.jpg", "PNG")
    assert read_image(tmp_path / "really_a_png.jpg").encoding.format == "PNG"


def test_integers_beyond_sixteen_bits_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    Image.fromarray(np.full((9, 9), 70000, np.int32)).save(path)
    with pytest.raises(InputError, match=r"deep\.tif: it holds 32-bit integers"):
        read_image(path)


def png_of(width: int, height: int, rows: Iterable[bytes]) -> bytes:
    """A 1-bit grey PNG."""

    def chunk(name: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + crc

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(rows), 1)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_a_image_of_hundreds_of_megapixels_is_legitimate(tmp_path: Path) -> None:
    side = 13500  # More than twice what Pillow takes for an attack.
    path = tmp_path / "panorama.png"
    path.write_bytes(png_of(side, side, [bytes(1 + -(-side // 8))] * side))
    limit = Image.MAX_IMAGE_PIXELS
    assert pixels_of(path).shape == (side, side)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_image_beyond_the_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(60000, 60000, [b"never decoded"]))
    with pytest.raises(InputError, match=f"more than {MAX_PIXELS // 10**6} million"):
        read_image(path)


def test_a_heic_without_its_reader_names_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "phone.heic"
    pillow_heif.from_pillow(Image.fromarray(photo())).save(path)
    script = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from pathlib import Path\n"
        "from faceblur.image.io import read_image\n"
        "from faceblur.errors import InputError\n"
        "try:\n    read_image(Path(sys.argv[1]))\n"
        "except InputError as error:\n    print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60
    )
    assert install_line("heic") in told.stdout, told.stderr


# Bad output


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("out.xyz", r"cannot write \.xyz images: .*\.jpg \.png \.webp \.tif"),
        ("out", "an image without a suffix"),
        ("in.gif", "is the source itself"),
        ("link.gif", "is the source itself"),
        ("out.jpg", r"has 4 pages and \.jpg holds one: use one of \.png \.webp \.tif \.gif"),
    ],
)
def test_a_result_that_cannot_be_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    first, *rest = frames()
    first.save(tmp_path / "in.gif", save_all=True, append_images=rest)
    (tmp_path / "link.gif").symlink_to(tmp_path / "in.gif")
    before = (tmp_path / "in.gif").read_bytes()
    with pytest.raises(InputError, match=reason):
        copy(tmp_path / "in.gif", tmp_path / name)
    assert (tmp_path / "in.gif").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.gif", "link.gif"]


def test_a_image_too_large_for_a_format_is_told(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    Image.new("L", (17000, 2)).save(path)
    with pytest.raises(OutputError, match=r"cannot write .*out\.webp: "):
        copy(path, tmp_path / "out.webp")
    assert [path.name for path in tmp_path.iterdir()] == ["long.png"]


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_a_page_that_fails_leaves_nothing_behind(tmp_path: Path, suffix: str) -> None:
    source = encoded(tmp_path / f"in{suffix}")
    image = read_image(source)

    def unchecked() -> Iterator[Page]:
        yield next(image.pages)
        raise InputError("the server is gone")

    with pytest.raises(InputError, match="the server is gone"):
        write_image(tmp_path / f"out{suffix}", replace(image, pages=unchecked()))
    assert [path.name for path in tmp_path.iterdir()] == [f"in{suffix}"]


def test_an_output_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"folder .*nowhere does not exist"):
        copy(encoded(tmp_path / "in.png"), tmp_path / "nowhere" / "out.png")


_INTO_TROUBLE = """
import resource, signal, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from faceblur.errors import OutputError
from faceblur.image.io import Page, read_image, write_image

folder, suffixes = Path(sys.argv[1]), sys.argv[2:]
image = read_image(folder / "in.png")
noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
deep = noise.astype(np.uint16) * 257

def interrupted(*_):
    raise KeyboardInterrupt

def pages(pixels):
    signal.setitimer(signal.ITIMER_REAL, after_s)
    yield Page(pixels)

signal.signal(signal.SIGALRM, interrupted)
for after_s in (0, 0.002):
    if after_s == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    for suffix in suffixes:
        for pixels in (noise, deep):
            out = folder / f"out{suffix}"
            try:
                write_image(out, replace(image, pages=pages(pixels)))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except (OutputError, KeyboardInterrupt) as error:
                print(suffix, type(error).__name__, error, flush=True)
            if out.exists():
                assert after_s, "the disk was full"
                read_image(out)
                out.unlink()
            assert [path.name for path in folder.iterdir()] == ["in.png"], suffix
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits and timers are those of Unix")
def test_no_encoder_hangs_or_leaves_anything_on_a_full_disk_or_interrupted(tmp_path: Path) -> None:
    encoded(tmp_path / "in.png")
    line = [sys.executable, "-c", _INTO_TROUBLE, str(tmp_path), *ALL_SUFFIXES]
    told = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    full = re.findall(r"^(\S+) OutputError cannot write .*: the file would grow", told.stdout, re.M)
    assert full == [suffix for suffix in ALL_SUFFIXES for _ in range(2)]
    assert told.stdout.count("KeyboardInterrupt") > len(ALL_SUFFIXES)


def test_a_view_that_no_jpeg_can_hold_gets_one_sentence() -> None:
    assert jpeg(np.zeros((2, 3, 3), np.uint8), quality=80).startswith(b"\xff\xd8")
    for shape in ((0, 0, 3), (2, 65_501, 3)):
        with pytest.raises(OutputError, match="cannot be encoded as JPEG"):
            jpeg(np.zeros(shape, np.uint8), quality=80)
