"""Areas that are masked whatever is in them, on every kind of image."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from faceblur.detections import Detections
from faceblur.masks.areas import Area
from faceblur.masks.masker import Masker
from faceblur.masks.polygons import Polygon, touched_samples
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface
from faceblur.video.surface import VideoSurface

Array = npt.NDArray[Any]

WIDTH, HEIGHT = 61, 47
EVERY_MODE = ["veil", "blur", "pixelate", "solid", "image"]
TRIANGLE = np.array([[5.5, 3], [55, 12.2], [20.7, 44]])
OVERLAY = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
NOBODY = Detections.empty()


def area_of(polygon: Polygon) -> Area:
    area = Area.within(polygon, WIDTH, HEIGHT)
    assert area is not None
    return area


def noise(seed: int, channels: int = 3, dtype: Any = np.uint8) -> Array:
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    values = np.random.default_rng(seed).random(shape)
    return (
        values.astype(dtype)
        if dtype == np.float32
        else (values * 255).astype(dtype) * (257 if dtype == np.uint16 else 1)
    )


def face(x0: float, y0: float, x1: float, y1: float) -> Detections:
    return Detections.from_rows([[x0, y0, x1, y1, 0.9, *[0] * 10]])


polygons = st.lists(
    st.tuples(st.floats(-20, WIDTH + 20), st.floats(-20, HEIGHT + 20)), min_size=3, max_size=6
).map(lambda corners: np.array(corners).round(2))


@settings(max_examples=60, deadline=None)
@given(polygons)
# Its edge comes to x = 28 by rounding a bit beyond it.
@example(np.array([[5.09, 1.88], [28.0, 12.47], [0.0, 0.0]]))
def test_every_touched_pixel_has_the_colour_and_no_other_changes(polygon: Polygon) -> None:
    before = noise(0)
    after = before.copy()
    area = Area.within(polygon, WIDTH, HEIGHT)
    expected = touched_samples(polygon, start=(0, 0), shape=(HEIGHT, WIDTH))
    if area is not None:
        style = MaskStyle(mode="solid", color=(255, 0, 255))
        Masker(style).apply(ArraySurface(after), NOBODY, [area])
    assert (after[expected] == (255, 0, 255)).all()
    np.testing.assert_array_equal(after[~expected], before[~expected])


@pytest.mark.parametrize("mode", EVERY_MODE)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_nothing_of_the_image_shows_in_an_area(mode: str, channels: int, dtype: Any) -> None:
    """Two images with nothing in common become the same there, faces and transparency too."""
    masker = Masker(MaskStyle(mode=mode, image=OVERLAY, feather=0.5))
    area, results = area_of(TRIANGLE), []
    for seed in (1, 2):
        image = noise(seed, channels, dtype)
        before = image.copy()
        masker.apply(ArraySurface(image), face(12, 8, 32, 34), [area])
        results.append(image)
        if channels == 4:
            white = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
            where = touched_samples(TRIANGLE, start=(0, 0), shape=(HEIGHT, WIDTH))
            assert (image[where][:, 3] == white).all()
            assert (image[~where][:, 3] >= before[~where][:, 3]).all()  # A mask is opaque.
    inside = touched_samples(TRIANGLE, start=(0, 0), shape=(HEIGHT, WIDTH))
    np.testing.assert_array_equal(results[0][inside], results[1][inside])
    assert (results[0][~inside] != results[1][~inside]).any()


def test_a_blur_drawn_over_an_area_would_be_noticed() -> None:
    """The other order: what is made of a face's pixels must not lie over an area."""
    masker, inside = (
        Masker(MaskStyle(mode="blur")),
        touched_samples(TRIANGLE, start=(0, 0), shape=(HEIGHT, WIDTH)),
    )
    results = []
    for seed in (1, 2):
        image = noise(seed)
        masker.apply(ArraySurface(image), NOBODY, [area_of(TRIANGLE)])
        masker.apply(ArraySurface(image), face(1, 1, 30, 34))
        results.append(image[inside])
    assert (results[0] != results[1]).any()


@pytest.mark.parametrize(
    "pixel_format",
    ["yuv420p", "yuv422p", "yuv444p10le", "yuv420p10le", "yuv410p", "gray", "gbrp", "gbrp16le"],
)
@pytest.mark.parametrize("mode", EVERY_MODE)
def test_nothing_shows_on_any_plane_of_video(pixel_format: str, mode: str) -> None:
    masker = Masker(MaskStyle(mode=mode, image=OVERLAY))
    area, frames = area_of(TRIANGLE), []
    for seed in (1, 2):
        frame = av.VideoFrame.from_ndarray(noise(seed), format="bgr24")
        surface = VideoSurface(frame.reformat(format=pixel_format))
        before = [plane.pixels.copy() for plane in surface.planes]
        masker.apply(surface, face(12, 8, 32, 34), [area])
        frames.append((surface, before))
    for index, plane in enumerate(frames[0][0].planes):
        step = (plane.step_x, plane.step_y)
        inside = touched_samples(TRIANGLE, start=(0, 0), shape=plane.pixels.shape, step=step)
        first, second = (surface.planes[index].pixels for surface, _ in frames)
        np.testing.assert_array_equal(first[inside], second[inside])
        # One pixel of the image is enough for a sample of a plane.
        pixels = touched_samples(TRIANGLE, start=(0, 0), shape=(HEIGHT, WIDTH))
        rows, columns = np.nonzero(pixels)
        assert inside[rows // plane.step_y, columns // plane.step_x].all()


def test_an_area_leaves_the_rest_of_a_video_frame_bit_by_bit() -> None:
    frame = av.VideoFrame.from_ndarray(noise(1), format="bgr24").reformat(format="yuv420p")
    surface = VideoSurface(frame)
    before = [plane.pixels.copy() for plane in surface.planes]
    Masker().apply(surface, NOBODY, [area_of(TRIANGLE)])
    for old, plane in zip(before, surface.planes, strict=True):
        step = (plane.step_x, plane.step_y)
        outside = ~touched_samples(TRIANGLE, start=(0, 0), shape=old.shape, step=step)
        np.testing.assert_array_equal(plane.pixels[outside], old[outside])


@pytest.mark.parametrize(
    "corners",
    [
        [(70, 0), (80, 0), (80, 9)],
        [(-9, -9), (0, -9), (0, 9)],
        [(0, 48), (9, 47), (9, 99)],
    ],
)
def test_areas_outside_the_image_do_not_exist(corners: list[tuple[float, float]]) -> None:
    assert Area.within(np.array(corners, np.float64), WIDTH, HEIGHT) is None
