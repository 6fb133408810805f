"""The values that pass from a video's reader to its writer."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av

SCALER_THREADS: Final = 1
"""For every conversion by swscale: its threads write a few samples past the end of a row, over
what another thread has put at the start of the next one."""


_LIMITED_RANGE: Final = 1
_FULL_RANGE: Final = 2


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """One frame of a video.

    Attributes:
        index: Counted from 0 in order of presentation.
        pts: When it is shown, in `time_base`; increases strictly from frame to frame.
        duration: How long, in `time_base`; 0 when the file does not say.
        time_base: Seconds to one tick.
        image: Upright, in a format that `VideoSurface` takes.
        starts_scene: It is the first of another recording, whatever it looks like.
    """

    index: int
    pts: int
    duration: int
    time_base: Fraction
    image: av.VideoFrame
    starts_scene: bool = False

    @property
    def pts_s(self) -> Fraction:
        """When it is shown, in seconds, exactly."""
        return self.pts * self.time_base


@dataclass(frozen=True, kw_only=True)
class VideoProperties:
    """What an encoder has to know to keep a video as it is.

    Attributes:
        width: Of the upright frames, pixels, as the height.
        pixel_format: Of the frames that come out, FFmpeg's name.
        time_base: Seconds to one tick of the timestamps.
        rate: Frames per second, nominal (guessed if they vary); None if unknown.
        rate_varies: Frames do not come at that rate throughout.
        sample_aspect_ratio: Width over height of one pixel; None if unknown.
        color_range: 1 limited, 2 full, 0 unknown; this and the next three are code points of
            ITU-T H.273, as FFmpeg numbers them.
        mastering_display: FFmpeg's AVMasteringDisplayMetadata, if there is one.
        light_level: FFmpeg's AVContentLightMetadata, if there is one.
        dynamic_hdr: There is HDR metadata that changes from frame to frame.
    """

    width: int
    height: int
    pixel_format: str
    time_base: Fraction
    rate: Fraction | None = None
    rate_varies: bool = False
    sample_aspect_ratio: Fraction | None = None
    codec: str = ""
    color_range: int = 0
    color_space: int = 2
    color_primaries: int = 2
    color_transfer: int = 2
    interlaced: bool = False
    bottom_field_first: bool = False
    mastering_display: bytes | None = None
    light_level: bytes | None = None
    captions: bool = False
    dynamic_hdr: bool = False

    @property
    def full_range(self) -> bool:
        """Samples span all values."""
        return spans_all_values(self.color_range, self.pixel_format)


def spans_all_values(color_range: int, pixel_format: str) -> bool:
    """Whether samples span all values, or leave room at both ends as television does.

    The range is as in `VideoProperties`; where it is unknown, some pixel formats imply it.
    """
    if color_range in (_LIMITED_RANGE, _FULL_RANGE):
        return color_range == _FULL_RANGE
    return pixel_format.startswith(("yuvj", "gray", "gbr"))
