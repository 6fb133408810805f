"""What a mask covers, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import av
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
from faceblur.video.surface import VideoSurface

MAGENTA = (255, 0, 255)


def outside_box(height: int, width: int, box: Box, *, expand: float, step: int = 1) -> Array:
    """Pixels that the expanded box, rounded outwards to whole steps, does not touch."""
    y, x = np.mgrid[:height, :width]
    x0, y0, x1, y1 = box
    grow_x, grow_y = max((x1 - x0) * expand, 0.5) + 1e-3, max((y1 - y0) * expand, 0.5) + 1e-3
    left, right = np.floor((x0 - grow_x) / step) * step, np.ceil((x1 + grow_x) / step) * step
    top, bottom = np.floor((y0 - grow_y) / step) * step, np.ceil((y1 + grow_y) / step) * step
    outside: Array = (x < left) | (x >= right) | (y < top) | (y >= bottom)
    return outside


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


def test_overlapping_masks_leave_no_gap() -> None:
    near: list[Box] = [(40, 40, 100, 110), (70, 30, 130, 120), (60, 80, 90, 130)]
    after = masked(noise(160, 160), *near, mode="solid", color=MAGENTA)
    covered = (after == MAGENTA).all(axis=2)
    assert all(covered[inside_ellipse(160, 160, box)].all() for box in near)


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
