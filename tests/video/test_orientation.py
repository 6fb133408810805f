"""Frames come out as a player shows them."""

from __future__ import annotations

import shutil
import struct
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from media import Recording, pattern, record
from mp4_boxes import set_display_matrix
from probing import FFMPEG_MISSING

from faceblur.video.frames import SourceFrame
from faceblur.video.orientation import Orientation, Turner
from faceblur.video.source import VideoSource
from faceblur.video.surface import VideoSurface

MATRICES = [
    *((1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)),
    *((-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)),
]
"""a, b, c, d of the eight ways to show a frame: four turns, and the same mirrored."""

LOSSLESS = {"preset": "ultrafast", "qp": "0"}


def display_matrix(a: int, b: int, c: int, d: int) -> bytes:
    one = 1 << 16
    return struct.pack("=9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)


def as_defined(
    samples: npt.NDArray[np.uint8], matrix: tuple[int, int, int, int]
) -> npt.NDArray[np.uint8]:
    """Move every sample on its own: (x, y) is shown at (a·x + c·y, b·x + d·y)."""
    a, b, c, d = matrix
    height, width = samples.shape
    y, x = np.mgrid[:height, :width]
    to_x, to_y = a * x + c * y, b * x + d * y
    to_x, to_y = to_x - to_x.min(), to_y - to_y.min()
    shown = np.zeros((to_y.max() + 1, to_x.max() + 1), samples.dtype)
    shown[to_y, to_x] = samples
    return shown


@pytest.mark.parametrize("matrix", MATRICES)
def test_samples_move_as_the_matrix_says(matrix: tuple[int, int, int, int]) -> None:
    samples = np.arange(15, dtype=np.uint8).reshape(3, 5)
    orientation = Orientation.from_matrix(display_matrix(*matrix))
    shown = orientation.turn(samples)
    assert (shown == as_defined(samples, matrix)).all()
    assert orientation.size(5, 3) == shown.shape[::-1]


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_video_is_turned_like_ffmpeg_does(
    tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip(FFMPEG_MISSING)
    path = tmp_path / "turned.mp4"
    record(path, pattern(3, width=64, height=48), Recording(options=LOSSLESS))
    set_display_matrix(path, matrix)
    with VideoSource(path) as source:
        width, height = source.properties.width, source.properties.height
        frames = [item.image for item in source.read() if isinstance(item, SourceFrame)]
    line = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-"]
    raw = subprocess.run(line, capture_output=True, check=True, timeout=60).stdout
    expected = np.frombuffer(raw, np.uint8).reshape(3, height * 3 // 2, width)
    for frame, shown in zip(frames, expected, strict=True):
        assert (frame.width, frame.height) == (width, height)
        assert (frame.to_ndarray() == shown).all()


@pytest.mark.parametrize(
    ("name", "turned"),
    [
        *(("yuv420p", "yuv420p"), ("yuv444p10le", "yuv444p10le"), ("gray", "gray")),
        *(("yuv422p", "yuv422p"), ("yuvj422p", "yuvj422p"), ("yuv422p10le", "yuv422p10le")),
        *(("yuv440p", "yuv422p"), ("yuv411p", "yuv444p"), ("gbrp", "gbrp")),
    ],
)
def test_a_quarter_turn_moves_every_luma_sample_unchanged(name: str, turned: str) -> None:
    frame = av.VideoFrame.from_ndarray(pattern(1, width=70, height=50)[0], "bgr24")
    frame = frame.reformat(format=name)
    frame.pts = 5
    matrix = (0, 1, -1, 0)
    before = VideoSurface(frame).planes[0].pixels.copy()
    turn = Turner(Orientation.from_matrix(display_matrix(*matrix)))
    # Several times, for the threads of a scaler write over each other only now and then.
    for _ in range(100):
        shown = turn(frame)
        assert (shown.width, shown.height, shown.format.name, shown.pts) == (50, 70, turned, 5)
        assert (VideoSurface(shown).planes[0].pixels == as_defined(before, matrix)).all()


def test_pixels_that_are_not_square_are_turned_too(tmp_path: Path) -> None:
    def wide(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    path = tmp_path / "anamorphic.mp4"
    record(path, pattern(2), Recording(setup=wide))
    set_display_matrix(path, (0, 1, -1, 0))
    with VideoSource(path) as source:
        assert source.properties.sample_aspect_ratio == Fraction(3, 4)
