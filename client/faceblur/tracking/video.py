"""What the cover needs to know of decoded video frames."""

from __future__ import annotations

import av
import numpy as np

from faceblur.detections import FloatArray
from faceblur.tracking import cuts


def thumbnail(image: av.VideoFrame) -> FloatArray:
    """A frame's thumbnail (see `cuts.thumbnail`), from its first plane: luma, grey or green.

    Args:
        image: In planes, as `VideoSurface` takes it.
    """
    bits = image.format.components[0].bits
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    plane = image.planes[0]
    rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
    return cuts.thumbnail(rows[:, : plane.width], white=float((1 << bits) - 1))


def frame_bytes(width: int, height: int, pixel_format: str) -> int:
    """Memory that a decoded frame takes, about."""
    bits = av.VideoFormat(pixel_format, width, height).padded_bits_per_pixel
    return width * height * bits // 8
