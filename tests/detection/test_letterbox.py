"""The letterbox keeps an image's shape and maps boxes back to where they came from."""

from __future__ import annotations

import timeit

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceblur.detection.letterbox import PAD_VALUE, Letterbox, canonical_shapes, stretching
from faceblur.detections import Detections
from faceblur.errors import InputError

sides = st.integers(1, 8000)
strides = st.sampled_from([32, 64])
sizes = st.sampled_from([320, 640, 960, 1280])


@pytest.mark.parametrize(
    ("frame", "shape"),
    [
        ((1920, 1080), (384, 640)),
        ((640, 480), (480, 640)),
        ((500, 500), (640, 640)),
        ((1080, 1920), (640, 384)),
        ((3000, 4000), (640, 480)),
        ((2560, 1080), (384, 640)),
        ((3, 4000), (640, 384)),
    ],
)
def test_a_frame_goes_in_with_its_own_aspect(
    frame: tuple[int, int], shape: tuple[int, int]
) -> None:
    assert Letterbox.plan(*frame).shape == shape


def test_there_are_few_shapes_so_that_cameras_share_batches() -> None:
    assert canonical_shapes() == ((384, 640), (480, 640), (640, 640), (640, 384), (640, 480))
    assert all(side % 64 == 0 for shape in canonical_shapes(stride=64) for side in shape)


@given(width=sides, height=sides, size=sizes, stride=strides)
def test_every_frame_fits_a_canonical_shape(
    width: int, height: int, size: int, stride: int
) -> None:
    box = Letterbox.plan(width, height, size=size, stride=stride)
    assert box.shape in canonical_shapes(size=size, stride=stride)
    assert box.left >= 0
    assert box.top >= 0
    assert box.left + box.resized[0] <= box.shape[1]
    assert box.top + box.resized[1] <= box.shape[0]


@given(
    width=st.integers(64, 4000),
    height=st.integers(64, 4000),
    corner=st.tuples(st.floats(0, 0.8), st.floats(0, 0.8)),
)
def test_a_box_comes_back_where_it_was(
    width: int, height: int, corner: tuple[float, float]
) -> None:
    x, y = corner[0] * width, corner[1] * height
    box = np.float32([x, y, x + 0.2 * width, y + 0.2 * height])
    plan = Letterbox.plan(width, height)
    scale = np.float32([plan.resized[0] / width, plan.resized[1] / height])
    shift = np.float32([plan.left, plan.top])
    on_canvas = (box.reshape(2, 2) * scale + shift).reshape(4)
    row = np.concatenate([on_canvas, [0.9], np.tile(on_canvas[:2], 5)])
    back = plan.to_source(Detections.from_rows(row))
    np.testing.assert_allclose(back.boxes[0], box, atol=0.01 * max(width, height) / 100)
    np.testing.assert_allclose(back.landmarks[0, 4], box[:2], atol=0.01 * max(width, height) / 100)


def test_the_image_is_on_the_canvas_and_the_rest_is_grey() -> None:
    plan = Letterbox.plan(200, 100, size=320)
    canvas = plan.apply(np.full((100, 200, 3), 7, np.uint8))
    assert canvas.shape == (*plan.shape, 3)
    inside = np.zeros(plan.shape, bool)
    inside[plan.top : plan.top + plan.resized[1], plan.left : plan.left + plan.resized[0]] = True
    assert (canvas[inside] == 7).all()
    assert (canvas[~inside] == PAD_VALUE).all()


@pytest.mark.parametrize("frame", [(0, 10), (10, 0)])
def test_a_image_without_pixels_is_refused(frame: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="nothing to detect"):
        Letterbox.plan(*frame)


def test_a_size_below_the_stride_is_refused() -> None:
    with pytest.raises(InputError, match="at least 64"):
        Letterbox.plan(10, 10, size=32, stride=64)


def _scene(*, low: int, high: int) -> npt.NDArray[np.uint8]:
    values = np.random.default_rng(3).integers(low, high + 1, (360, 640, 3))
    return values.astype(np.uint8)


class TestStretching:
    """An image that uses little of its range is seen with all of it, and no other is touched."""

    @pytest.mark.parametrize(("low", "high"), [(100, 150), (0, 15), (200, 225), (180, 255)])
    def test_little_range_becomes_all_of_it(self, low, high):
        seen = Letterbox.plan(640, 360).apply(_scene(low=low, high=high))[12:372]
        assert (seen.min(), seen.max()) == (0, 255)

    @pytest.mark.parametrize(("low", "high"), [(0, 255), (60, 160), (0, 96), (114, 114), (0, 0)])
    def test_ordinary_and_empty_images_are_left_alone(self, low, high):
        image = _scene(low=low, high=high)
        assert stretching(image) is None
        assert np.array_equal(Letterbox.plan(640, 360).apply(image)[12:372], image)

    def test_a_small_bright_face_in_the_dark_is_not_clipped(self):
        image = _scene(low=0, high=4)
        image[100:120, 300:316] = _scene(low=40, high=200)[100:120, 300:316]
        assert stretching(image) is None
        image[100:120, 300:316] = _scene(low=20, high=80)[100:120, 300:316]
        curve = stretching(image)
        assert curve is not None
        assert len(np.unique(curve[20:80])) > 40

    def test_the_noise_of_an_empty_image_stays_noise(self):
        curve = stretching(_scene(low=60, high=62))
        assert curve is not None
        assert int(curve[62]) - int(curve[60]) <= 40

    def test_the_border_does_not_count(self):
        canvas = np.full((640, 640, 3), PAD_VALUE, np.uint8)
        canvas[300:340] = _scene(low=0, high=255)[:40]
        canvas[:300:2] += 1
        assert stretching(canvas) is None
        assert stretching(np.ascontiguousarray(canvas[:290])) is None

    def test_a_tile_is_seen_as_the_whole_is(self):
        plan = Letterbox.plan(640, 360)
        image = _scene(low=100, high=110)
        assert np.array_equal(plan.place(image, None)[12:372], image)

    def test_it_takes_under_a_millisecond(self):
        image = _scene(low=0, high=255)
        best_s = min(timeit.repeat(lambda: stretching(image), number=1, repeat=50))
        assert best_s < 1e-3
