"""What Triton runs on images that come as JPEG: header, decoders, placement."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Iterator
from types import ModuleType

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from faceblur.detection.letterbox import Letterbox, letterboxing
from faceblur.detection.repository import load_code, model_repository

MAX_PIXELS = 40_000_000
header = load_code("jpeg_letterbox", "jpeg_header")
sides = st.integers(1, 9000)


def _encoded(image: npt.NDArray[np.uint8], *settings: int) -> bytes:
    return bytes(cv2.imencode(".jpg", image, list(settings))[1])


@pytest.fixture(scope="module")
def small(portrait: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.resize(portrait, (120, 90)), np.uint8)


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("restart_interval", [0, 3])
def test_size_is_read_from_a_whole_image_and_from_no_part_of_it(
    small: npt.NDArray[np.uint8], progressive: int, restart_interval: int
) -> None:
    settings = (cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    data = _encoded(small, *settings, cv2.IMWRITE_JPEG_RST_INTERVAL, restart_interval)
    assert header.read_size(data, max_pixels=MAX_PIXELS) == (120, 90)
    assert header.read_size(data + b"what cameras append", max_pixels=MAX_PIXELS) == (120, 90)
    for length in (*range(0, len(data), 23), *range(len(data) - 9, len(data))):
        with pytest.raises(ValueError, match="JPEG"):
            header.read_size(data[:length], max_pixels=MAX_PIXELS)


@given(st.binary(max_size=200))
def test_anything_else_is_a_value_error(junk: bytes) -> None:
    for data in (junk, b"\xff\xd8" + junk, b"\xff\xd8\xff\xc0" + junk):
        with contextlib.suppress(ValueError):
            assert min(header.read_size(data, max_pixels=MAX_PIXELS)) > 0


def test_a_thumbnail_inside_is_not_taken_for_the_image(small: npt.NDArray[np.uint8]) -> None:
    data, thumbnail = _encoded(small), _encoded(np.zeros((8, 8, 3), np.uint8))
    length = (len(thumbnail) + 2).to_bytes(2, "big")
    with_it = data[:2] + b"\xff\xe1" + length + thumbnail + data[2:]
    assert header.read_size(with_it, max_pixels=MAX_PIXELS) == (120, 90)


def test_too_many_pixels_are_refused_before_anything_is_decoded() -> None:
    data = bytearray(_encoded(np.zeros((8, 8, 3), np.uint8)))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = (20_000).to_bytes(2, "big") * 2
    started = time.thread_time()
    with pytest.raises(ValueError, match="20000 x 20000 pixels; at most 40000000 are taken"):
        header.read_size(bytes(data), max_pixels=MAX_PIXELS)
    assert time.thread_time() - started < 0.1, "of the CPU"


def test_a_image_of_endless_scans_is_refused(small: npt.NDArray[np.uint8]) -> None:
    data = _encoded(small, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ValueError, match="more than 64 scans"):
        header.read_size(data[:last] + data[last:-2] * 70 + b"\xff\xd9", max_pixels=MAX_PIXELS)


def test_cmyk_is_refused_and_grey_is_not(tmp_path: object) -> None:
    file = f"{tmp_path}/picture.jpg"
    for mode, good in (("CMYK", False), ("L", True), ("RGB", True)):
        Image.new(mode, (40, 30)).save(file)
        with open(file, "rb") as opened:  # noqa: PTH123
            data = opened.read()
        if good:
            assert header.read_size(data, max_pixels=MAX_PIXELS) == (40, 30)
        else:
            with pytest.raises(ValueError, match="CMYK"):
                header.read_size(data, max_pixels=MAX_PIXELS)


@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=8), st.sampled_from([160, 640, 1000]))
def test_images_of_one_request_share_a_canvas_that_holds_each(
    images: list[tuple[int, int]], size: int
) -> None:
    placements = letterboxing.place(images, size=size, stride=32)
    (shape,) = {placement.shape for placement in placements}
    assert shape in letterboxing.canonical_shapes(size=size, stride=32)
    for (width, height), placement in zip(images, placements, strict=True):
        assert placement.left + placement.resized[0] <= shape[1]
        assert placement.top + placement.resized[1] <= shape[0]
        alone = Letterbox.plan(width, height, size=size)
        assert alone.resized == placement.resized
        assert alone.shape[0] * alone.shape[1] <= shape[0] * shape[1]


@given(st.integers(1, 20), st.sampled_from([32, 64]))
def test_a_canonical_canvas_is_put_onto_itself(units: int, stride: int) -> None:
    """So what the client has letterboxed is not resized again."""
    for height, width in letterboxing.canonical_shapes(size=units * stride, stride=stride):
        (placement,) = letterboxing.place([(width, height)], size=max(width, height), stride=stride)
        assert placement == ((height, width), (width, height), 0, 0)


@pytest.fixture
def decoder_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """As Triton imports it: with its folder on the path."""
    monkeypatch.syspath_prepend(str(model_repository() / "jpeg_letterbox" / "1"))
    yield importlib.import_module("image_decoder")
    for name in ("image_decoder", "letterboxing"):
        sys.modules.pop(name, None)


def test_pillow_decodes_where_there_is_no_opencv(
    decoder_module: ModuleType,
    portrait: npt.NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = _encoded(portrait)
    first = decoder_module.find_decoder()
    monkeypatch.setitem(sys.modules, "cv2", None)
    second = decoder_module.find_decoder()
    assert [type(each).__name__ for each in (first, second)] == ["OpenCVDecoder", "PillowDecoder"]
    for size, bound in (((512, 512), 1.0), ((640, 640), 2.0), ((160, 160), 2.0)):
        here, there = (each.read(data, (512, 512), size) for each in (first, second))
        assert here.shape == there.shape == (size[1], size[0], 3)
        assert np.abs(here.astype(int) - there).mean() < bound
    for each in (first, second):
        with pytest.raises(ValueError, match="cannot be decoded"):
            each.read(b"\xff\xd8\xff\xd9", (512, 512), (512, 512))
        with pytest.raises(ValueError, match="cannot be decoded"):
            each.read(data, (513, 512), (512, 512))


def test_without_a_decoder_it_is_said_what_to_do(
    decoder_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cv2", "PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="install opencv-python-headless there, or send pixels"):
        decoder_module.find_decoder()
