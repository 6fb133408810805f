"""What a mask covers, what it leaves alone, and what it lets through of a face."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface
from faceblur.video.surface import VideoSurface

Array = npt.NDArray[Any]
Cover = Callable[[Array, tuple[float, float, float, float]], None]
Box = tuple[float, float, float, float]

FACE: Box = (172, 64, 292, 214)
"""The astronaut's."""
MAGENTA = (255, 0, 255)
EVERY_MODE = ["veil", "blur", "pixelate", "solid", "image"]
OVERLAY = np.zeros((8, 8, 3), np.uint8)


def found(*boxes: Box) -> Detections:
    rows = np.zeros((len(boxes), 15), np.float32)
    rows[:, :4] = np.reshape(boxes, (-1, 4))
    return Detections.from_rows(rows)


def masked(pixels: Array, *boxes: Box, **style: Any) -> Array:
    result = pixels.copy()
    Masker(MaskStyle(**style)).apply(ArraySurface(result), found(*boxes))
    return result


def noise(height: int, width: int, channels: int = 3, dtype: Any = np.uint8) -> Array:
    # Green is never 0, so that magenta tells what was masked.
    values = np.random.default_rng(0).integers(1, 256, (height, width, channels))
    return values.astype(dtype)


def photo() -> Array:
    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


def inside_ellipse(height: int, width: int, box: Box) -> Array:
    """Pixels whose centre lies in the ellipse inscribed in a box."""
    y, x = np.mgrid[:height, :width] + 0.5
    x0, y0, x1, y1 = box
    return (2 * x - x0 - x1) ** 2 / (x1 - x0) ** 2 + (2 * y - y0 - y1) ** 2 / (y1 - y0) ** 2 <= 1


def outside_box(height: int, width: int, box: Box, *, expand: float, step: int = 1) -> Array:
    """Pixels that the expanded box, rounded outwards to whole steps, does not touch."""
    y, x = np.mgrid[:height, :width]
    x0, y0, x1, y1 = box
    grow_x, grow_y = max((x1 - x0) * expand, 0.5) + 1e-3, max((y1 - y0) * expand, 0.5) + 1e-3
    left, right = np.floor((x0 - grow_x) / step) * step, np.ceil((x1 + grow_x) / step) * step
    top, bottom = np.floor((y0 - grow_y) / step) * step, np.ceil((y1 + grow_y) / step) * step
    outside: Array = (x < left) | (x >= right) | (y < top) | (y >= bottom)
    return outside


boxes = st.tuples(
    st.floats(-40, 120, width=32),
    st.floats(-40, 90, width=32),
    st.floats(0.5, 90, width=32),
    st.floats(0.5, 90, width=32),
).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


# What is covered


@settings(max_examples=100, deadline=None)
@given(boxes, st.sampled_from(["ellipse", "box"]), st.floats(0.1, 1))
def test_covers_the_face_and_changes_nothing_around_it(box: Box, shape: str, expand: float) -> None:
    before = noise(97, 131)
    after = masked(before, box, mode="solid", color=MAGENTA, shape=shape, expand=expand)
    covered = (after == MAGENTA).all(axis=2)
    assert covered[inside_ellipse(97, 131, box)].all()
    away = outside_box(97, 131, box, expand=expand)
    np.testing.assert_array_equal(after[away], before[away])


@settings(max_examples=60, deadline=None)
@given(boxes, st.sampled_from(["yuv420p", "yuv422p", "yuv444p10le", "yuv420p10le"]))
def test_covers_the_colour_planes_of_video_too(box: Box, pixel_format: str) -> None:
    frame = av.VideoFrame.from_ndarray(noise(97, 131), format="bgr24")
    surface = VideoSurface(frame.reformat(format=pixel_format))
    before = [plane.pixels.copy() for plane in surface.planes]
    expected = surface.encode(np.full((2, 2, 3), MAGENTA[::-1], np.uint8))
    Masker(MaskStyle(mode="solid", color=MAGENTA)).apply(surface, found(box))
    face = inside_ellipse(97, 131, box)
    away = outside_box(97, 131, box, expand=MaskStyle().expand, step=2)
    for old, new, colour in zip(before, surface.planes, expected, strict=True):
        rows, columns = new.pixels.shape[:2]
        blocks = np.zeros((rows * new.step_y, columns * new.step_x), bool)
        blocks[:97, :131] = face
        blocks = blocks.reshape(rows, new.step_y, columns, new.step_x).any(axis=(1, 3))
        assert (new.pixels[blocks] == colour[0, 0]).all()
        left_alone = away[:: new.step_y, :: new.step_x]
        np.testing.assert_array_equal(new.pixels[left_alone], old[left_alone])


@pytest.mark.parametrize(
    "found_box",
    [
        (25, 0, 125, 120),  # shifted: IoU 0.6
        (0, 30, 100, 150),
        (11, 13.5, 89, 106.5),  # smaller: IoU 0.6
        (-14.5, -17.4, 114.5, 137.4),  # larger: IoU 0.6
        (0, 0, 76, 120),  # only a part: IoU 0.76
        (24, 0, 100, 120),
        (0, 28, 100, 120),
    ],
)
def test_an_inexact_box_still_covers_nine_tenths_of_the_face(found_box: Box) -> None:
    label: Box = (100, 100, 200, 220)
    box = tuple(np.add(found_box, 100))
    after = masked(noise(350, 350), box, mode="solid", color=MAGENTA)
    face = (after == MAGENTA).all(axis=2)[inside_ellipse(350, 350, label)]
    assert face.mean() >= 0.9


def test_the_default_ellipse_comes_close_to_the_corners_of_the_box() -> None:
    after = masked(noise(200, 200), (50, 50, 150, 150), mode="solid", color=MAGENTA)
    assert (after == MAGENTA).all(axis=2)[50:150, 50:150].mean() > 0.99


def test_a_soft_edge_lies_outside_the_shape() -> None:
    before = np.full((200, 200, 3), 255, np.uint8)
    box: Box = (60, 60, 140, 140)
    for shape in ("ellipse", "box"):
        hard = masked(before, box, mode="solid", shape=shape)
        soft = masked(before, box, mode="solid", shape=shape, feather=0.4)
        inner = inside_ellipse(200, 200, (44, 44, 156, 156))
        assert (hard[inner] == 0).all()
        assert (soft[inner] == 0).all()
        row = soft[100, 156:, 0].astype(int)
        assert (np.diff(row) >= 0).all()
        assert ((row > 0) & (row < 255)).any()
        assert (soft[outside_box(200, 200, box, expand=0.7)] == 255).all()


@pytest.mark.parametrize("mode", EVERY_MODE)
def test_faces_outside_the_image_change_nothing(mode: str) -> None:
    before = noise(50, 50)
    far: list[Box] = [(-90, 0, -20, 40), (0, 1e30, 10, 2e30), (80, 80, 90, 95)]
    np.testing.assert_array_equal(masked(before, *far, mode=mode, image=OVERLAY), before)
    np.testing.assert_array_equal(masked(before, mode=mode, image=OVERLAY), before)


# What is let through


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


def test_overlapping_masks_leave_no_gap() -> None:
    near: list[Box] = [(40, 40, 100, 110), (70, 30, 130, 120), (60, 80, 90, 130)]
    after = masked(noise(160, 160), *near, mode="solid", color=MAGENTA)
    covered = (after == MAGENTA).all(axis=2)
    assert all(covered[inside_ellipse(160, 160, box)].all() for box in near)


# On what it is drawn


@pytest.mark.parametrize("mode", EVERY_MODE)
@pytest.mark.parametrize("feather", [0, 0.3])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_draws_on_every_kind_of_array(mode: str, feather: float, channels: int, dtype: Any) -> None:
    scale = {np.uint8: 1, np.uint16: 257, np.float32: np.float32(1 / 255)}[dtype]
    eight_bit = noise(90, 90, channels)
    before = (eight_bit.astype(np.float64) * scale).astype(dtype)
    before = before[:, :, 0] if channels == 1 else before
    box: Box = (20, 20, 60, 70)
    style = {"mode": mode, "feather": feather, "color": (250, 130, 10), "image": photo()}
    after = masked(before, box, **style)
    assert after.dtype == dtype
    away = outside_box(90, 90, box, expand=MaskStyle().expand + feather)
    if channels == 4:
        np.testing.assert_array_equal(after[away][:, 3], before[away][:, 3])
        after, before = after[..., :3], before[..., :3]
    np.testing.assert_array_equal(after[away], before[away])
    inside = inside_ellipse(90, 90, box)
    assert (after[inside] != before[inside]).mean() > 0.9
    plain = eight_bit[..., 0] if channels == 1 else eight_bit[..., :3]
    expected = masked(np.ascontiguousarray(plain), box, **style)[inside]
    assert np.abs(after[inside] / scale - expected).max() <= 1.6  # Two roundings.


@pytest.mark.parametrize("view", [np.s_[::-1], np.s_[:, ::-1], np.s_[::2, ::2], np.s_[3:, 5:]])
def test_draws_on_views_of_arrays(view: Any) -> None:
    for channels in (3, 4):
        pixels = noise(180, 180, channels)
        expected = masked(np.ascontiguousarray(pixels[view]), (20, 20, 60, 70))
        Masker().apply(ArraySurface(pixels[view]), found((20, 20, 60, 70)))
        np.testing.assert_array_equal(pixels[view], expected)


@pytest.mark.parametrize("mode", EVERY_MODE)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_no_transparency_shows_in_a_mask(mode: str, dtype: Any) -> None:
    # The face of a stencil is in its transparency alone.
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    stencil = np.zeros((300, 400, 4), dtype)
    stencil[:, :, 3] = cv2.cvtColor(photo()[:300, :400], cv2.COLOR_BGR2GRAY) / 255 * white
    image = {"image": OVERLAY} if mode == "image" else {}
    after = masked(stencil, FACE, mode=mode, **image)
    assert (after[inside_ellipse(300, 400, FACE), 3] == white).all()
    outside = outside_box(300, 400, FACE, expand=MaskStyle().expand)
    assert (after[outside] == stencil[outside]).all()


def test_the_colour_is_given_as_red_green_blue() -> None:
    after = masked(noise(50, 50), (10, 10, 40, 40), mode="solid", color=(255, 128, 0))
    assert after[25, 25].tolist() == [0, 128, 255]


def test_an_overlay_is_stretched_over_the_face_and_has_no_holes(tmp_path: Path) -> None:
    sticker = np.zeros((300, 200, 4), np.uint8)
    sticker[:, :100] = (255, 0, 0, 255)
    sticker[:, 100:] = (0, 0, 255, 0)
    file = tmp_path / "sticker.png"
    cv2.imwrite(str(file), sticker)
    before = noise(120, 120)
    box: Box = (30, 30, 90, 90)
    for image in (file, sticker):
        after = masked(before, box, mode="image", image=image, color=(0, 255, 0), shape="box")
        assert after[60, 40].tolist() == [255, 0, 0]
        assert after[60, 80].tolist() == [0, 255, 0]


# What is refused


@pytest.mark.parametrize("mode", EVERY_MODE)
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ((np.nan, 0, 10, 10), "not finite"),
        ((0, 0, np.inf, 10), "not finite"),
        ((20, 0, 10, 10), "ends before it starts"),
    ],
)
def test_a_box_that_makes_no_sense_is_an_error_and_nothing_is_drawn(
    mode: str, bad: Box, reason: str
) -> None:
    pixels = noise(50, 50)
    before = pixels.copy()
    masker = Masker(MaskStyle(mode=mode, image=OVERLAY))
    with pytest.raises(InputError, match=reason):
        masker.apply(ArraySurface(pixels), found((5, 5, 20, 20), bad))
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"mode": "mosaic"}, "use veil, blur, pixelate, solid, image"),
        ({"shape": "star"}, "use ellipse, box"),
        ({"expand": -0.1}, "use 0 to 3"),
        ({"expand": float("nan")}, "use 0 to 3"),
        ({"cells": 7}, "use 1 to 6"),
        ({"cells": 0}, "use 1 to 6"),
        ({"feather": 2}, "use 0 to 1"),
        ({"color": (0, 0, 256)}, "0 to 255 each"),
        ({"color": (0, 0)}, "0 to 255 each"),
        ({"mode": "image"}, "needs an image"),
    ],
)
def test_a_style_that_cannot_be_drawn_does_not_exist(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        MaskStyle(**values)


def test_an_overlay_that_cannot_be_read_is_an_error_before_any_frame(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*missing\.png"):
        MaskStyle(mode="image", image=tmp_path / "missing.png")


def test_an_overlay_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "sticker.png"
    cv2.imwrite(str(file), OVERLAY)
    style = MaskStyle(mode="image", image=file)
    file.unlink()
    again = dataclasses.replace(style, shape="box")
    assert again.overlay is style.overlay is not None
    assert style.overlay.path == file
    box: Box = (30, 30, 90, 90)
    assert (masked(noise(120, 120), box, mode="image", image=again.image) != noise(120, 120)).any()
    own = OVERLAY.copy()
    held = MaskStyle(mode="image", image=own).overlay
    own[:] = 9
    assert held is not None
    np.testing.assert_array_equal(held.pixels, OVERLAY)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.float64),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4,), np.uint8),
    ],
)
def test_an_array_that_is_no_image_is_refused(pixels: Array) -> None:
    with pytest.raises(InputError, match="is no image"):
        ArraySurface(pixels)


def test_a_read_only_array_is_refused() -> None:
    pixels = noise(4, 4)
    pixels.flags.writeable = False
    with pytest.raises(InputError, match="read-only"):
        ArraySurface(pixels)
