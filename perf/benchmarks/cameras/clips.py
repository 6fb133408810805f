"""Clips for cameras, encoded beforehand so that making them takes no time from what is measured."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from faceblur.live.sources.testpattern import TestPattern

PORTRAIT: Final = Path(__file__).resolve().parents[3] / "docs" / "images" / "before.jpg"
SIZE: Final = (1280, 720)


def write_clip(path: Path, *, fps: int, frames: int, source: Path | None = None) -> Path:
    """Write 1280 × 720 H.264 as cameras send it: no B-frames, a key frame every two seconds.

    Args:
        path: The file.
        fps: Frames per second.
        frames: How many; a shorter source is repeated.
        source: What to show; a portrait that swings across coloured tiles when None.
    """
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.max_b_frames = 0
        stream.codec_context.gop_size = 2 * fps
        stream.options = {"preset": "veryfast", "crf": "23"}
        images = _pattern(fps) if source is None else _repeated(source)
        for number, image in enumerate(itertools.islice(images, frames)):
            image.pts, image.time_base = number, Fraction(1, fps)
            image.pict_type = 0
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    return path


def _pattern(fps: int) -> Iterator[Any]:
    pattern = TestPattern(SIZE, face=PORTRAIT)
    for number in itertools.count():
        yield pattern.image(number / fps)


def _repeated(source: Path) -> Iterator[Any]:
    while True:
        with av.open(str(source)) as container:
            for frame in container.decode(video=0):
                yield frame.reformat(*SIZE, "yuv420p")
