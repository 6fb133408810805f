"""Overlays and styles: how they look, and which cannot be drawn."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from masked_images import EVERY_MODE, OVERLAY, Array, Box, found, masked, noise

from faceblur.errors import InputError
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface


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
