"""Give frames the pixel format and the size that an encoder takes, losing as little as can be."""

from __future__ import annotations

import logging
from typing import Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from faceblur.video.alpha import flatten, has_alpha
from faceblur.video.containers import whole_size
from faceblur.video.encoders import EncoderChoice
from faceblur.video.frames import SCALER_THREADS, VideoProperties
from faceblur.video.orientation import copy_properties
from faceblur.video.surface import HD_HEIGHT, VideoSurface

logger = logging.getLogger(__name__)

_BT709: Final = 1
_BT601: Final = 6
_LIMITED: Final = 1


class PixelFormatConverter:
    """Fits the frames of one video to one encoder.

    Attributes:
        size: Width and height of the fitted frames. H.264 and its kin know no half chroma
            samples: where a size is odd, the last row or column is repeated.
        color_range: Of the fitted frames: the source's, or limited where RGB became YUV, and where
            the encoder could not say that it is full.
        color_space: Their matrix: the source's, or the customary one where RGB became YUV.
    """

    def __init__(self, source: VideoProperties, choice: EncoderChoice) -> None:
        self._pixel_format = choice.pixel_format
        self._encoder = choice.name
        self._reformatter = VideoReformatter()
        self._flattener = VideoReformatter()
        self._told = False
        self.size = (source.width, source.height)
        if choice.even_sizes:
            self.size = whole_size(choice.pixel_format, *self.size)
        self._leaves_rgb = _is_rgb(source.pixel_format) and not _is_rgb(choice.pixel_format)
        self._limits = choice.limits_range and not self._leaves_rgb
        self.color_range = _LIMITED if choice.limits_range else source.color_range
        self.color_space = source.color_space
        if self._leaves_rgb:
            self.color_range = _LIMITED
            self.color_space = _BT709 if source.height >= HD_HEIGHT else _BT601

    def __call__(self, image: av.VideoFrame) -> av.VideoFrame:
        """Fit a frame; one that fits already comes back as it is."""
        if has_alpha(image.format.name) and not has_alpha(self._pixel_format):
            image, through = flatten(image, self._flattener)
            if through and not self._told:
                self._told = True
                logger.warning(
                    "transparent places become black: %s; .webm, .mov and .mkv can keep them",
                    f"{self._encoder} does not keep them here",
                )
        if self._limits or image.format.name != self._pixel_format:
            image = self._convert(image)
        if (image.width, image.height) != self.size:
            image = _repeat_edges(image, *self.size)
        return image

    def _convert(self, image: av.VideoFrame) -> av.VideoFrame:
        matrix = Colorspace.ITU709 if self.color_space == _BT709 else Colorspace.ITU601
        becomes_limited = self._limits or self._leaves_rgb
        return self._reformatter.reformat(
            image,
            format=self._pixel_format,
            dst_colorspace=matrix if self._leaves_rgb else None,
            src_color_range=ColorRange.JPEG if self._limits else None,
            dst_color_range=ColorRange.MPEG if becomes_limited else image.color_range,
            threads=SCALER_THREADS,
        )


def _repeat_edges(image: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
    """Repeat the last row or column."""
    larger = av.VideoFrame(width, height, image.format.name)
    copy_properties(image, larger)
    for old, new in zip(
        VideoSurface(image).all_planes, VideoSurface(larger).all_planes, strict=True
    ):
        rows, columns = old.pixels.shape
        more = ((0, new.pixels.shape[0] - rows), (0, new.pixels.shape[1] - columns))
        new.pixels[:] = np.pad(old.pixels, more, mode="edge")
    return larger


def _is_rgb(name: str) -> bool:
    return av.VideoFormat(name, 16, 16).is_rgb
