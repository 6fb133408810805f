"""How the samples of live frames lie in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_ITU601 = (5, 6)
"""AVColorSpace of what OpenCV, which is quicker, takes all samples for."""


@dataclass(frozen=True)
class FrameFormat:
    """How a live frame's samples are to be read. They are always yuv420p with 8 bits.

    Attributes:
        width: Pixels, even.
        height: Pixels, a multiple of 4: PyAV puts no other on memory that it is given.
        matrix: AVColorSpace (ITU-T H.273).
        full_range: Samples span all values.
        aspect: Width over height of a pixel.
    """

    width: int
    height: int
    matrix: int = 6
    full_range: bool = False
    aspect: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        """Check the size.

        Raises:
            ValueError: There is no such frame.
        """
        if self.width < 2 or self.width % 2 or self.height < 4 or self.height % 4:
            raise ValueError(f"no frame is {self.width} × {self.height}")

    def to_message(self) -> dict[str, Any]:
        """For a message to another process."""
        return {**vars(self), "aspect": [self.aspect.numerator, self.aspect.denominator]}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> FrameFormat:
        """What `to_message` has put into a message; other entries are left alone.

        Raises:
            KeyError: There is none.
            TypeError, ValueError, ZeroDivisionError: It describes no frame.
        """
        return cls(
            width=int(message["width"]),
            height=int(message["height"]),
            matrix=int(message["matrix"]),
            full_range=bool(message["full_range"]),
            aspect=Fraction(*map(int, message["aspect"])),
        )

    @property
    def size_bytes(self) -> int:
        """Of Y, U and V one after the other, rows without padding."""
        return self.width * self.height * 3 // 2

    def planes(self, data: Bytes) -> Bytes:
        """Y, U and V below one another, as OpenCV takes I420; a view of the given samples."""
        return data[: self.size_bytes].reshape(self.height * 3 // 2, self.width)

    def image(self, data: Bytes) -> av.VideoFrame:
        """A video frame on the given samples, which it shares."""
        image = av.VideoFrame.from_numpy_buffer(self.planes(data), format="yuv420p")
        image.colorspace = self.matrix
        image.color_range = 2 if self.full_range else 1
        return image

    def bgr(self, samples: Bytes) -> Bytes:
        """The given samples as a screen shows them, (height, width, 3) BGR; a copy."""
        if self.full_range or self.matrix not in _ITU601:
            return np.asarray(self.image(samples).to_ndarray(format="bgr24"), np.uint8)
        return np.asarray(cv2.cvtColor(self.planes(samples), cv2.COLOR_YUV2BGR_I420), np.uint8)
