"""Videos that tests make, and copies of them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from media import NTSC, Recording, pattern, record

from faceblur.video.frames import SourceFrame
from faceblur.video.options import VideoOptions
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource

TICKS = Fraction(1, 90_000)
B_FRAMES = {"preset": "medium", "bf": "3"}
HEVC = {"preset": "superfast", "x265-params": "log-level=none:bframes=3"}
UNEVEN = [round(90_000 * (i / 30 + (0.011 if i % 5 < 2 else 0))) for i in range(40) if i % 7 != 3]


def copy(source: Path, output: Path, options: VideoOptions | None = None) -> str:
    """Read a video and write every frame as it is."""
    with VideoSource(source) as video, VideoSink(output, video, options) as sink:
        for item in video.read():
            if isinstance(item, SourceFrame):
                sink.write(item)
            else:
                sink.copy(item)
        return sink.encoder


def small(name: str, **how: Any) -> Callable[[Path], Path]:
    """A recipe for a source."""

    def make(folder: Path) -> Path:
        path = folder / f"source{name}"
        frames = len(how.get("times", range(40)))
        record(path, pattern(frames, width=96, height=64), Recording(**how))
        return path

    return make


SOURCES = {
    "even.mp4": small(".mp4", options=B_FRAMES, sounds=["eng"]),
    "uneven.mp4": small(".mp4", times=UNEVEN, time_base=TICKS, sounds=["eng"]),
    "uneven.mkv": small(".mkv", times=UNEVEN, time_base=TICKS, sounds=["eng"]),
    "uneven-b-frames.mp4": small(
        ".mp4", times=UNEVEN, time_base=TICKS, options=B_FRAMES, sounds=["eng"]
    ),
    "uneven-hevc.mp4": small(
        ".mp4", times=UNEVEN, time_base=TICKS, encoder="libx265", options=HEVC, sounds=["eng"]
    ),
    "29.97.mp4": small(".mp4", rate=NTSC, options=B_FRAMES, sounds=["eng", "fra"]),
    "29.97.mkv": small(".mkv", rate=NTSC, options=B_FRAMES),
    "late.mp4": small(
        ".mp4", times=[*range(9_137, 153_137, 3600)], time_base=TICKS, sounds=["eng"]
    ),
    "hevc.mov": small(
        ".mov",
        encoder="libx265",
        pixel_format="yuv420p10le",
        options=HEVC,
        sounds=["eng"],
    ),
    "vp9.webm": small(
        ".webm",
        encoder="libvpx-vp9",
        options={"deadline": "realtime", "cpu-used": "8"},
        sounds=["eng"],
        sound_encoder="libopus",
    ),
    "mpeg4.avi": small(".avi", encoder="mpeg4", options={}),
}


def grey(path: Path) -> Any:
    """The frames of a video in grey, (N, H, W)."""
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="gray").astype(int) for f in container.decode(video=0)]
    return np.stack(frames)
