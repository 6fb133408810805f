"""Turn frames upright.

Cameras store frames as the sensor lies and say in a display matrix how to show them. Faces are
detected in what a viewer sees, so the samples themselves are turned, and the output needs no
matrix.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import VideoReformatter

from faceblur.image.pixels import Array
from faceblur.video.frames import SCALER_THREADS
from faceblur.video.surface import VideoSurface

logger = logging.getLogger(__name__)

_WITH_TRANSPOSED: Final = ("yuv422p", "yuvj422p", "yuv422p10le", "yuv422p12le")
"""4:2:2 formats for which there is the 4:4:0 one that they become when transposed."""


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a frame down: transpose first, then mirror.

    Attributes:
        transposed: Rows become columns.
        mirror_x: Then left and right change places.
        mirror_y: Then top and bottom change places.
    """

    transposed: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def from_matrix(cls, matrix: bytes) -> Orientation:
        """Read a display matrix: nine native int32, row by row; see libavutil's display.h.

        With a, b and c, d the first two of the first two rows, the sample at (x, y) is shown at
        (a·x + c·y, b·x + d·y). An angle that is not a quarter turn is rounded to one.
        """
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
        transposed = abs(b) + abs(c) > abs(a) + abs(d)
        if (transposed and (a or d)) or (not transposed and (b or c)):
            logger.warning("the video asks to be shown at an odd angle; rounding to 90° steps")
        if transposed:
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation:
        """How a frame is to be shown."""
        matrix = side_data(frame).get(SideDataType.DISPLAYMATRIX)
        if matrix is not None:
            return cls.from_matrix(matrix)
        quarters = round(frame.rotation / 90) % 4
        return (cls(), cls(True, False, True), cls(False, True, True), cls(True, True))[quarters]

    @property
    def upright(self) -> bool:
        """Nothing needs to be done."""
        return self == Orientation()

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a frame once it is turned."""
        return (height, width) if self.transposed else (width, height)

    def aspect(self, sample_aspect_ratio: Fraction) -> Fraction:
        """Width over height of a pixel once it is turned."""
        return 1 / sample_aspect_ratio if self.transposed else sample_aspect_ratio

    def turn(self, samples: Array) -> Array:
        """Turn one plane."""
        return _TURNS[self](samples)


_TURNS: dict[Orientation, Callable[[Array], Array]] = {
    Orientation(): lambda samples: samples,
    Orientation(False, True, False): lambda samples: cv2.flip(samples, 1),
    Orientation(False, False, True): lambda samples: cv2.flip(samples, 0),
    Orientation(False, True, True): lambda samples: cv2.rotate(samples, cv2.ROTATE_180),
    Orientation(True, False, False): lambda samples: cv2.transpose(samples),
    Orientation(True, True, False): lambda samples: cv2.rotate(samples, cv2.ROTATE_90_CLOCKWISE),
    Orientation(True, False, True): lambda samples: cv2.rotate(
        samples, cv2.ROTATE_90_COUNTERCLOCKWISE
    ),
    Orientation(True, True, True): lambda samples: cv2.flip(cv2.transpose(samples), -1),
}


class Turner:
    """Turns frames of one video; keeps what can be reused between them."""

    def __init__(self, orientation: Orientation) -> None:
        self._orientation = orientation
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Turn a frame.

        Luma is moved sample by sample. So is chroma, except with 4:2:2 turned by 90°: its
        chroma would be subsampled downwards, which encoders do not take, and is resampled.
        """
        if self._orientation.upright:
            return frame
        name = frame.format.name
        before, after, final = _turned_formats(name) if self._orientation.transposed else [name] * 3
        frame = self._reformatter.reformat(frame, format=before, threads=SCALER_THREADS)
        width, height = self._orientation.size(frame.width, frame.height)
        turned = av.VideoFrame(width, height, after)
        copy_properties(frame, turned)
        for source, target in zip(
            VideoSurface(frame).all_planes, VideoSurface(turned).all_planes, strict=True
        ):
            target.pixels[:] = self._orientation.turn(source.pixels)
        return self._reformatter.reformat(turned, format=final, threads=SCALER_THREADS)


def side_data(frame: av.VideoFrame) -> dict[SideDataType, bytes]:
    """What a frame carries besides its samples, without what PyAV does not know."""
    try:
        carried: Any = frame.side_data
        return {data.type: bytes(data) for data in carried}
    except ValueError:
        logger.debug("a frame carries side data of an unknown kind")
        return {}


def copy_properties(source: av.VideoFrame, target: av.VideoFrame) -> None:
    """Give a frame made from another its time and colours."""
    colours = ("colorspace", "color_range", "color_primaries", "color_trc")
    for name in ("pts", "time_base", "duration", *colours):
        value = getattr(source, name)
        if value is not None:
            setattr(target, name, value)


def _turned_formats(name: str) -> tuple[str, str, str]:
    """What to convert to before a transposition, what that becomes, and what it ends as."""
    if name in _WITH_TRANSPOSED:
        return name, name.replace("422", "440"), name
    if "440" in name:
        upright = name.replace("440", "422")
        return name, upright, upright
    square = name.replace("422", "444").replace("411", "444")
    return square, square, square
