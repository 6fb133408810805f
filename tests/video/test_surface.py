"""Masks are drawn on the samples of a decoded frame, and on nothing else."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media import Recording, pattern, record
from probing import decoded

from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskStyle
from faceblur.video.surface import VideoSurface, drawable_format

DRAWABLE = [
    *("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "gray", "gbrp"),
    *("yuv420p10le", "yuv422p10le", "yuv444p12le", "gray10le", "gray16le", "gbrp10le"),
]
FACE = Detections(
    np.array([[20, 10, 44, 40]], np.float32),
    np.ones(1, np.float32),
    np.zeros((1, 5, 2), np.float32),
)


def make_frame(name: str, width: int = 63, height: int = 49) -> av.VideoFrame:
    image = pattern(3, width=width, height=height)[2]
    return av.VideoFrame.from_ndarray(image, "bgr24").reformat(format=name)


@pytest.mark.parametrize("name", DRAWABLE)
def test_a_mask_changes_the_samples_of_the_face_and_no_others(name: str) -> None:
    frame = make_frame(name)
    before = [plane.pixels.copy() for plane in VideoSurface(frame).planes]
    style = MaskStyle(mode="solid", shape="box", expand=0, color=(250, 10, 120))
    surface = VideoSurface(frame)
    Masker(style).apply(surface, FACE)
    for plane, old in zip(VideoSurface(frame).planes, before, strict=True):
        changed = plane.pixels != old
        inside = np.zeros_like(changed)
        rows = slice(10 // plane.step_y, -(-40 // plane.step_y))
        columns = slice(20 // plane.step_x, -(-44 // plane.step_x))
        inside[rows, columns] = True
        assert not changed[~inside].any()
        assert len(np.unique(plane.pixels[inside])) == 1


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(DRAWABLE),
    matrix=st.sampled_from([1, 6, 9]),
    full=st.booleans(),
    colour=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_colours_are_those_that_swscale_reads_back(
    name: str, matrix: int, full: bool, colour: tuple[int, int, int]
) -> None:
    frame = make_frame(name, width=32, height=32)
    frame.colorspace = matrix
    # swscale knows no other range of these.
    full = full or name.startswith(("yuvj", "gbr", "gray"))
    frame.color_range = 2 if full else 1
    surface = VideoSurface(frame)
    image = np.full((32, 32, 3), colour, np.uint8)
    for plane, samples in zip(surface.planes, surface.encode(image), strict=True):
        assert (samples.shape, samples.dtype) == (plane.pixels.shape, plane.pixels.dtype)
        plane.pixels[:] = samples
    space = {1: 1, 6: 5, 9: 9}[matrix]  # SWS_CS_*
    read = frame.reformat(
        format="bgr24", src_colorspace=space, src_color_range=2 if full else 1, dst_color_range=2
    ).to_ndarray()
    if frame.format.name.startswith("gray"):
        blue, red = {1: (0.0722, 0.2126), 6: (0.114, 0.299), 9: (0.0593, 0.2627)}[matrix]
        grey = np.dot(colour, (blue, 1 - blue - red, red))
        colour = (grey, grey, grey)
    assert np.abs(read[16, 16].astype(float) - colour).max() <= 3


def test_chroma_is_averaged_where_it_is_subsampled() -> None:
    surface = VideoSurface(make_frame("yuv420p", width=6, height=5))
    red, blue = (0, 0, 255), (255, 0, 0)
    image = np.full((5, 6, 3), red, np.uint8)
    image[:, 1::2] = blue
    _, mixed, _ = surface.encode(image)
    _, of_red, _ = surface.encode(np.full((5, 6, 3), red, np.uint8))
    _, of_blue, _ = surface.encode(np.full((5, 6, 3), blue, np.uint8))
    assert mixed.shape == (3, 3)
    middle = (of_red[0, 0].astype(int) + of_blue[0, 0]) / 2
    assert np.abs(mixed - middle).max() <= 1


@pytest.mark.parametrize(
    "name", ["nv12", "yuyv422", "p010le", "yuva420p", "gbrap", "bgr24", "rgb48le", "ya8"]
)
def test_every_other_format_has_one_to_draw_on(name: str) -> None:
    frame = make_frame(name, width=64, height=48)
    drawable = frame.reformat(format=drawable_format(name))
    VideoSurface(drawable)
    back = drawable.reformat(format=name).reformat(format="bgr24").to_ndarray()
    assert cv2.norm(back, frame.reformat(format="bgr24").to_ndarray(), cv2.NORM_INF) <= 2


def test_palettes_become_rgb() -> None:
    assert drawable_format("pal8") == "gbrp"


def test_a_format_that_cannot_be_drawn_on_is_refused() -> None:
    with pytest.raises(InputError, match="nv12"):
        VideoSurface(make_frame("nv12"))


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """A video whose frames are all predicted from earlier ones."""
    path = tmp_path / "predicted.mkv"
    options = {"preset": "medium", "g": "100", "bf": "0", "refs": "4", "qp": "20"}
    record(path, pattern(12, width=192), Recording(options=options))
    return path


def test_masks_do_not_get_into_frames_that_are_predicted_from_masked_ones(
    predicted: Path,
) -> None:
    clean = decoded(predicted)
    masked = _decoded_while_masking(predicted, lambda frame: VideoSurface(frame).planes[0].pixels)
    assert all((a[:60] == b[:60]).all() for a, b in zip(clean, masked, strict=True))


def test_the_check_above_notices_frames_that_are_not_made_writable(predicted: Path) -> None:
    def reckless(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
        plane = frame.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        return rows[:, : plane.width]

    clean = decoded(predicted)
    masked = _decoded_while_masking(predicted, reckless)
    assert not all((a[:60] == b[:60]).all() for a, b in zip(clean, masked, strict=True))


def _decoded_while_masking(path: Path, luma_of: object) -> list[npt.NDArray[np.uint8]]:
    """Decode, painting the lower half of each frame black before the next is decoded."""
    assert callable(luma_of)
    seen = []
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        for packet in container.demux(video=0):
            for frame in packet.decode():
                seen.append(frame.to_ndarray())
                luma_of(frame)[:] = 0
    return seen
