"""Every format goes out and comes back: colours, depths and quality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_files import ALL_SUFFIXES, SRGB, copy, photo, pixels_of
from PIL import Image, ImageCms, JpegImagePlugin

from faceblur.errors import InputError
from faceblur.image.formats import BY_SUFFIX, readable_suffixes
from faceblur.image.io import Page, read_image, write_image
from faceblur.image.pixels import rgb8

# Pillow warns before it raises, and of tags that are damaged.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


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
