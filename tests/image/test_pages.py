"""Animations and documents: every frame and page, one at a time."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import Array, copy, frames, photo
from PIL import Image

from faceblur.errors import OutputError
from faceblur.image.io import Page, read_image, write_image

# Pillow warns before it raises, and of tags that are damaged.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


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
