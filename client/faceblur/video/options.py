"""How a video is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from faceblur.errors import InputError
from faceblur.video.muting import SoundSpan

DEFAULT_QUALITY: Final = 80

HardwareDecoding = Literal["off", "auto", "cuda", "vaapi", "qsv", "drm", "videotoolbox", "v4l2m2m"]


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How a video is read and written.

    Attributes:
        encoder: FFmpeg's name of the encoder; None chooses one that suits the container and the
            source, `auto` that of the GPU in its place where it was measured to be faster.
        hardware_decoding: What decodes the source; the frames are the same, bit for bit.
        quality: 0 (worst) to 100 (best); None is 80. Each step of 10 is a step of 4 of the
            constant rate factor on x264's scale (80 is 20, 90 is 16, 70 is 24), converted for
            other encoders.
        audio: "keep" or "drop".
        muted: Parts of the sound that are silent, or a tone, instead. Subtitles that are shown then
            are left out.
        keep_metadata: Keep titles, dates, places and the like. Thumbnails and timed metadata are
            never kept.
        keep_subtitles: Keep subtitles that do not look like speech, or cannot be read.

    Raises:
        InputError: A value out of its range.
    """

    encoder: str | None = None
    hardware_decoding: HardwareDecoding = "off"
    quality: int | None = None
    audio: str = "keep"
    muted: tuple[SoundSpan, ...] = ()
    keep_metadata: bool = False
    keep_subtitles: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise InputError(f"a quality of {self.quality} cannot be used; give 0 to 100")
        if self.audio not in ("keep", "drop"):
            raise InputError(f"audio can be kept or dropped, not {self.audio!r}")
        if self.audio == "drop" and self.muted:
            raise InputError(
                "all of the sound is dropped, so no part of it can be muted: leave out one of them"
            )

    @property
    def rate_factor(self) -> float:
        """The quality as a constant rate factor on x264's scale, 0 (best) to 51."""
        quality = DEFAULT_QUALITY if self.quality is None else self.quality
        return min(51.0, 52 - 0.4 * quality)
