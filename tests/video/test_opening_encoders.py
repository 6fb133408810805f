"""What encoders are kept from when they are opened."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import cv2
import pytest
from media import moving_face_video

from faceblur.video.opening import open_encoder, without_avx512

AVX512 = 13


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[av.VideoFrame]:
    clip = tmp_path_factory.mktemp("encoder") / "clip.mp4"
    moving_face_video(clip, frames=50, width=320, height=180)
    with av.open(str(clip)) as container:
        return list(container.decode(video=0))


def _encoded(
    frames: list[av.VideoFrame], open_with: Callable[[Any], None] = open_encoder, **options: str
) -> bytes:
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = 320, 180, "yuv420p"
    context.time_base = Fraction(1, 25)
    context.options = {"preset": "veryfast", **options}
    open_with(context)
    for frame in frames:
        frame.pict_type = av.video.frame.PictureType.NONE
    packets = [packet for frame in [*frames, None] for packet in context.encode(frame)]
    return b"".join(map(bytes, packets))


def test_x264_makes_the_same_bytes_of_the_same_frames(frames: list[av.VideoFrame]) -> None:
    made = {_encoded(frames) for _ in range(5)}
    assert len(made) == 1
    (sound,) = made
    if cv2.checkHardwareSupport(AVX512):
        assert _encoded(frames, **{"x264-params": "asm=SSE4.2"}) == sound
        assert _encoded(frames, lambda context: context.open()) != sound


def test_other_settings_of_x264_stay() -> None:
    options = {"preset": "veryfast", "x264-params": "bff=1"}
    assert without_avx512(options) == {**options, "x264-params": "bff=1:asm=AVX2"}
