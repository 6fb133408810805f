"""Fit frames of one size into another."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from faceblur.live.frame_format import Bytes, FrameFormat
from faceblur.video.frames import SCALER_THREADS


class FrameScaler:
    """Fits frames into a given format: as large as they go, with black beside them."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def fit(self, samples: Bytes, source: FrameFormat, target: FrameFormat) -> av.VideoFrame:
        """The frame in the target's format; on the samples themselves if that is theirs."""
        image = source.image(samples)
        if source == target:
            return image
        ratio = float(source.aspect / target.aspect)
        scale = min(target.width / (source.width * ratio), target.height / source.height)
        width = max(2, round(source.width * ratio * scale) & ~1)
        height = max(2, round(source.height * scale) & ~1)
        small = self._reformatter.reformat(
            image,
            width,
            height,
            "yuv420p",
            src_colorspace=source.matrix,
            dst_colorspace=target.matrix,
            src_color_range=2 if source.full_range else 1,
            dst_color_range=2 if target.full_range else 1,
            threads=SCALER_THREADS,
        )
        padded = av.VideoFrame(target.width, target.height, "yuv420p")
        black = (0 if target.full_range else 16, 128, 128)
        left = ((target.width - width) // 2) & ~1
        top = ((target.height - height) // 2) & ~1
        for plane, fill, part, step in zip(
            _rows(padded), black, _rows(small), (1, 2, 2), strict=True
        ):
            plane[:] = fill
            y, x = top // step, left // step
            plane[y : y + height // step, x : x + width // step] = part[
                : height // step, : width // step
            ]
        padded.colorspace = target.matrix
        padded.color_range = 2 if target.full_range else 1
        return padded


def _rows(image: av.VideoFrame) -> Iterator[Bytes]:
    for plane in image.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
        yield rows[:, : plane.width]
