"""What a mask lets through of a face: averages of a coarse grid, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masked_images import (
    EVERY_MODE,
    FACE,
    OVERLAY,
    Array,
    Box,
    boxes,
    found,
    inside_ellipse,
    masked,
    noise,
    photo,
)

from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface

Cover = Callable[[Array, tuple[float, float, float, float]], None]


def colours(pixels: Array) -> int:
    return len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0))


def depends_on_averages_alone(cover: Cover) -> bool:
    """Whether a face of 6 × 6 cells looks the same when the pixels in each cell are shuffled."""
    rng = np.random.default_rng(1)
    same = []
    for side in (24, 60, 390):
        x, y = 32, 64
        first = cv2.resize(photo()[64:214, 172:292], (side + 64, side + 128))
        second = first.copy()
        cell = side // 6
        for top in range(y, y + side, cell):
            for left in range(x, x + side, cell):
                tile = second[top : top + cell, left : left + cell]
                tile[:] = rng.permutation(tile.reshape(-1, 3)).reshape(tile.shape)
        assert not np.array_equal(first, second)
        box: Box = (x, y, x + side, y + side)
        cover(first, box)
        cover(second, box)
        inside = np.s_[y : y + side, x : x + side]
        same.append(np.array_equal(first[inside], second[inside]))
    return all(same)


def independent_patterns(cover: Cover) -> int:
    """Of how many row patterns a masked face is made, at most 6 for a grid of 6 × 6."""
    ranks = []
    for box in ((20, 20, 80, 95), (11.3, 17.9, 61.8, 71.1), (-30, 5, 50, 90)):
        image = np.random.default_rng(2).random((110, 110), np.float32)
        cover(image, box)
        face = image[int(box[1]) : int(box[3]), max(int(box[0]), 0) : int(box[2])]
        ranks.append(int(np.linalg.matrix_rank(face, tol=1e-3)))
    return max(ranks)


def shipped(mode: str) -> Cover:
    def cover(pixels: Array, box: Box) -> None:
        style = MaskStyle(mode=mode, shape="box", expand=0, image=OVERLAY)
        Masker(style).apply(ArraySurface(pixels), found(box))

    return cover


def _region(pixels: Array, box: Box) -> Array:
    x0, y0, x1, y1 = (max(int(value), 0) for value in box)
    return pixels[y0:y1, x0:x1]


def one_pixel_per_tile(pixels: Array, box: Box) -> None:
    face = _region(pixels, box)
    tiles = cv2.resize(face, (6, 6), interpolation=cv2.INTER_NEAREST)
    face[:] = cv2.resize(tiles, face.shape[1::-1], interpolation=cv2.INTER_NEAREST)


def weak_gaussian(pixels: Array, box: Box) -> None:
    face = _region(pixels, box)
    face[:] = cv2.GaussianBlur(face, (0, 0), max(1, face.shape[1] / 12))


def tiles_of_fixed_size(pixels: Array, box: Box) -> None:
    face = _region(pixels, box)
    tiles = cv2.resize(face, None, fx=1 / 5, fy=1 / 5, interpolation=cv2.INTER_AREA)
    face[:] = cv2.resize(tiles, face.shape[1::-1], interpolation=cv2.INTER_NEAREST)


def translucent(pixels: Array, box: Box) -> None:
    face = _region(pixels, box)
    face[:] = (0.1 * face).astype(face.dtype)


@pytest.mark.parametrize("mode", EVERY_MODE)
def test_nothing_but_the_averages_of_a_coarse_grid_gets_through(mode: str) -> None:
    assert depends_on_averages_alone(shipped(mode))
    assert independent_patterns(shipped(mode)) <= 6


@pytest.mark.parametrize(
    "broken", [one_pixel_per_tile, weak_gaussian, tiles_of_fixed_size, translucent]
)
def test_masks_that_reveal_more_are_noticed(broken: Cover) -> None:
    assert not depends_on_averages_alone(broken) or independent_patterns(broken) > 6


@settings(max_examples=60, deadline=None)
@given(boxes, st.integers(1, 6), st.sampled_from(["ellipse", "box"]))
def test_there_are_never_more_cells_than_asked_for(box: Box, cells: int, shape: str) -> None:
    before = noise(97, 131)
    after = masked(before, box, mode="pixelate", cells=cells, shape=shape)
    # The smallest box holds nothing but mask; what is outside the ellipse is the image itself.
    face = after[inside_ellipse(97, 131, box)]
    if len(face):
        assert colours(face) <= cells * cells


def test_a_cell_is_the_mean_of_its_pixels() -> None:
    before = photo()
    after = masked(before, (100, 100, 220, 220), mode="pixelate", shape="box", expand=0)
    means = before[100:220, 100:220].reshape(6, 20, 6, 20, 3).mean(axis=(1, 3))
    cells = after[100:220, 100:220].reshape(6, 20, 6, 20, 3)
    assert np.abs(cells - means[:, None, :, None]).max() <= 0.51


@pytest.mark.parametrize("mode", ["blur", "pixelate"])
def test_a_large_and_a_small_face_show_equally_little(mode: str) -> None:
    large = cv2.resize(photo(), (2048, 2048), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(photo(), (128, 128), interpolation=cv2.INTER_AREA)
    of_large = masked(large, tuple(np.multiply(FACE, 4)), mode=mode)
    of_small = masked(small, tuple(np.divide(FACE, 4)), mode=mode)
    shrunk = cv2.resize(of_large, (128, 128), interpolation=cv2.INTER_AREA)
    inside = inside_ellipse(128, 128, tuple(np.divide(FACE, 4)))
    difference = shrunk[inside].astype(int) - of_small[inside]
    spread = small[inside].astype(int).std()
    assert np.abs(difference).mean() < 0.25 * spread


def test_the_smallest_faces_become_one_colour() -> None:
    after = masked(noise(40, 40), (10, 10, 15.5, 15.9), mode="blur", shape="box")
    assert colours(after[10:15, 10:15]) == 1


def test_a_face_at_the_border_has_cells_as_large_as_elsewhere() -> None:
    after = masked(noise(120, 120), (-60, -60, 60, 60), mode="pixelate", shape="box", expand=0)
    assert 1 < colours(after[:60, :60]) <= 9


@pytest.mark.parametrize("mode", ["blur", "pixelate"])
def test_a_box_within_a_face_reveals_no_finer_cells(mode: str) -> None:
    before = np.random.default_rng(3).random((160, 160), np.float32)
    large: Box = (20, 20, 140, 140)
    eyes: Box = (40, 50, 80, 70)
    first = masked(before, large, eyes, mode=mode, shape="box", expand=0)
    second = masked(before, eyes, large, mode=mode, shape="box", expand=0)
    np.testing.assert_array_equal(first, second)
    assert np.linalg.matrix_rank(first[20:140, 20:140], tol=1e-3) <= 6
