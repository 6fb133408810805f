"""Damaged images are an error, and what is no image is told in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from image_files import ALL_SUFFIXES, copy, encoded, frames, partials, photo, pixels_of
from PIL import Image

from faceblur.errors import InputError
from faceblur.image.io import read_image, write_image

# Pillow warns before it raises, and of tags that are damaged.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def damaged_half(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


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
