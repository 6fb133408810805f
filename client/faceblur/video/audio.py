"""What sound becomes where it cannot be copied: rate, channels and format for an encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av

from faceblur.errors import InputError

_BITS_PER_CHANNEL: Final = 96_000
_BITS_PER_SAMPLE: Final = 6
"""AAC takes no more."""
_STANDARD: Final = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
"""Layouts by their number of channels."""
_TAKEN_AS: Final = {"5.1(side)": "5.1"}
"""What encoders take, for layouts that they do not."""
_COMMON_RATES: Final = (48_000, 44_100)


@dataclass(frozen=True, kw_only=True)
class SoundFormat:
    """How a track is encoded.

    Attributes:
        encoder: FFmpeg's name.
        rate: Samples per second.
        layout: Channels that the encoder is given.
        sample_format: Likewise, FFmpeg's name.
        channels: How many.
        source_layout: The source's channels, named.
        source_rate: The source's samples per second.
    """

    encoder: str
    rate: int
    layout: str
    sample_format: str
    channels: int
    source_layout: str
    source_rate: int

    def apply(self, context: av.AudioCodecContext) -> None:
        """Tell an encoder that has not been opened."""
        context.format = av.AudioFormat(self.sample_format)
        context.sample_rate = self.rate
        context.layout = self.layout
        bits = min(_BITS_PER_CHANNEL, _BITS_PER_SAMPLE * self.rate)
        context.bit_rate = bits * self.channels
        context.time_base = Fraction(1, self.rate)

    def silence(self) -> av.AudioFrame:
        """A moment of the source's sound in which nothing is heard."""
        frame = av.AudioFrame("flt", self.source_layout, 2048)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts = self.source_rate, 0
        frame.time_base = Fraction(1, self.source_rate)
        return frame


def choose_sound(
    source: av.AudioCodecContext, encoder: str, *, rate: int | None = None
) -> SoundFormat:
    """Choose what a sound encoder takes, as near to the source as can be.

    Args:
        source: How the source's sound is.
        encoder: FFmpeg's name.
        rate: The only one that may be, samples per second.

    Raises:
        InputError: It takes nothing of the kind.
    """
    layout = named(source.layout)
    channels = source.layout.nb_channels
    candidates = [_TAKEN_AS.get(layout, layout), layout, "stereo", "mono"]
    if channels > len(_STANDARD):
        # PyAV cannot hold so many in planes.
        candidates = candidates[2:]
    for candidate in dict.fromkeys(candidates):
        for tried in _rates(encoder, source.sample_rate, rate):
            sound = SoundFormat(
                encoder=encoder,
                rate=tried,
                layout=candidate,
                sample_format=_sample_format(encoder),
                channels=av.AudioLayout(candidate).nb_channels,
                source_layout=layout,
                source_rate=source.sample_rate,
            )
            if _opens(sound):
                return sound
    raise InputError(
        f"{encoder} cannot take sound of {channels} channels at {source.sample_rate} Hz: name "
        "another kind of output, or drop the sound"
    )


def is_named(layout: av.AudioLayout) -> bool:
    """Whether a layout says which channel is which, not only how many there are."""
    return not layout.name.endswith("channels")


def named(layout: av.AudioLayout) -> str:
    """The name of a layout; the usual one of so many channels where it has none."""
    if is_named(layout):
        return layout.name
    count = layout.nb_channels
    return _STANDARD[count - 1] if 0 < count <= len(_STANDARD) else layout.name


def _rates(encoder: str, wanted: int, fixed: int | None) -> Iterator[int]:
    """Rates to try, the nearest first: one that is higher loses nothing."""
    if fixed is not None:
        yield fixed
        return
    offered = av.Codec(encoder, "w").audio_rates or ()
    if not offered or wanted in offered:
        yield wanted
    yield from sorted(rate for rate in offered if rate > wanted)
    yield from _COMMON_RATES


def _sample_format(encoder: str) -> str:
    """What the encoder likes best."""
    offered = av.Codec(encoder, "w").audio_formats
    return offered[0].name if offered else "s16"


def _opens(sound: SoundFormat) -> bool:
    context: Any = av.CodecContext.create(sound.encoder, "w")
    sound.apply(context)
    try:
        context.open()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
