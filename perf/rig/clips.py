"""Frames with a face at known places, encoded once so that playing them costs nothing."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import av

from faceblur.live.sources.testpattern import TestPattern

ROOT: Final = Path(__file__).resolve().parents[2]
PORTRAIT: Final = ROOT / "docs" / "images" / "before.jpg"
"""NASA's public-domain portrait of Eileen Collins, 512 × 512."""

FACE_IN_PORTRAIT: Final = (192, 70, 268, 172)
"""Where her face is in it, x1 y1 x2 y2."""

FPS: Final = 10


def encode_clip(path: Path, *, size: tuple[int, int], frames: int, face: bool = True) -> Path:
    """Write a clip as rtsp_server.py plays it.

    Args:
        path: The file; its suffix says the codec, .h264 or .h265.
        size: Width and height.
        frames: Number of frames.
        face: Whether there is one in them.
    """
    pattern = TestPattern(size, face=PORTRAIT if face else None)
    is_h265 = path.suffix == ".h265"
    context = av.CodecContext.create("libx265" if is_h265 else "libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = size
    context.pix_fmt = "yuv420p"
    context.framerate = FPS
    context.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "20", "g": "10"}
    # One slice to a frame: GStreamer's payloader loses the first of several.
    parameters = "annexb=1:repeat-headers=1:scenecut=0"
    context.options |= {"threads": "1", "x264-params": parameters}
    if is_h265:
        context.options = {"preset": "ultrafast", "tune": "zerolatency"}
        context.options |= {"x265-params": f"{parameters}:pools=none:keyint=10:log-level=error"}
    with path.open("wb") as file:
        for number in range(frames):
            image = pattern.image(number / FPS)
            image.pts = number
            for packet in context.encode(image):
                file.write(struct.pack(">I?", packet.size, packet.is_keyframe) + bytes(packet))
        for packet in context.encode(None):
            file.write(struct.pack(">I?", packet.size, packet.is_keyframe) + bytes(packet))
    return path
