"""Files of videos, written and read frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from benchmarks.coverage.scenarios import RATE
from faceblur.image.pixels import BgrImage


def write_clip(path: Path, frames: Iterable[BgrImage], *, rate: Fraction | int = RATE) -> None:
    """Write frames, BGR with even sides, as H.264 of high quality."""
    with av.open(str(path), "w") as container:
        stream = None
        for image in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=rate, options={"crf": "14"})
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))


def read_clip(path: Path) -> Iterator[BgrImage]:
    """The frames of a video, BGR."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
