"""Audio that cannot be copied: decoded and encoded again, as near to the source as can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np

from faceblur.errors import InputError
from faceblur.video.muting import Muting
from faceblur.video.opening import reason
from faceblur.video.packets import Packet

_BITS_PER_CHANNEL: Final = 96_000
_BITS_PER_SAMPLE: Final = 6
"""AAC takes no more."""
_STANDARD: Final = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
"""Layouts by their number of channels."""
_TAKEN_AS: Final = {"5.1(side)": "5.1"}
"""What encoders take, for layouts that they do not."""
_COMMON_RATES: Final = (48_000, 44_100)


@dataclass(frozen=True, kw_only=True)
class AudioEncoding:
    """How a track is encoded; rates are samples per second."""

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
        """A moment of the source's audio in which nothing is heard."""
        frame = av.AudioFrame("flt", self.source_layout, 2048)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts = self.source_rate, 0
        frame.time_base = Fraction(1, self.source_rate)
        return frame


def choose_audio(
    source: av.AudioCodecContext, encoder: str, *, rate: int | None = None
) -> AudioEncoding:
    """Choose what an audio encoder takes, as near to the source as can be.

    `rate`, samples per second, is the only one that may be.

    Raises:
        InputError: It takes nothing of the kind.
    """
    layout = layout_name(source.layout)
    channels = source.layout.nb_channels
    candidates = [_TAKEN_AS.get(layout, layout), layout, "stereo", "mono"]
    if channels > len(_STANDARD):
        # PyAV cannot hold so many in planes.
        candidates = candidates[2:]
    for candidate in dict.fromkeys(candidates):
        for tried in _rates(encoder, source.sample_rate, rate):
            encoding = AudioEncoding(
                encoder=encoder,
                rate=tried,
                layout=candidate,
                sample_format=_sample_format(encoder, source.format.name),
                channels=av.AudioLayout(candidate).nb_channels,
                source_layout=layout,
                source_rate=source.sample_rate,
            )
            if _opens(encoding):
                return encoding
    raise InputError(
        f"{encoder} cannot take sound of {channels} channels at {source.sample_rate} Hz: name "
        "another kind of output, or drop the sound"
    )


def is_named(layout: av.AudioLayout) -> bool:
    """Whether a layout says which channel is which, not only how many there are."""
    return not layout.name.endswith("channels")


def layout_name(layout: av.AudioLayout) -> str:
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


def _sample_format(encoder: str, source: str) -> str:
    """The source's own, or else what the encoder likes best."""
    offered = [each.name for each in av.Codec(encoder, "w").audio_formats or ()]
    return source if source in offered else next(iter(offered), "s16")


def _opens(encoding: AudioEncoding) -> bool:
    context: Any = av.CodecContext.create(encoding.encoder, "w")
    encoding.apply(context)
    try:
        context.open()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


class ConvertedTrack:
    """A track of audio that is decoded and encoded again."""

    def __init__(
        self,
        container: av.container.OutputContainer,
        stream: av.AudioStream,
        encoding: AudioEncoding,
        *,
        start_s: Fraction,
        muting: Muting,
    ) -> None:
        self._stream = stream
        self._muting = muting
        self._start_s = start_s
        self._end_s = _end(stream)
        self._next_s = Fraction(0)
        self._encoding = encoding
        self._time_base = stream.time_base or Fraction(1, encoding.rate)
        added = container.add_stream(encoding.encoder, rate=encoding.rate)
        assert isinstance(added, av.AudioStream)
        encoding.apply(added.codec_context)
        added.time_base = Fraction(1, encoding.rate)
        self.output = added

    def silence(self) -> Iterator[Packet]:
        """Packets of a moment in which nothing is heard."""
        yield from self.output.encode(self._encoding.silence())
        yield from self.output.encode(None)

    def packets(self, packet: Packet) -> Iterator[Packet]:
        """The packets that the encoder has ready."""
        yield from self._encode(packet)

    def rest(self) -> Iterator[Packet]:
        """What decoder and encoder still hold."""
        yield from self._encode(None)
        yield from self.output.encode(None)

    def _encode(self, packet: Packet | None) -> Iterator[Packet]:
        decoder = self._stream.codec_context
        if not decoder.is_open:
            # Old formats name no layout, and nothing can be converted from none.
            decoder.layout = self._encoding.source_layout
        try:
            frames = decoder.decode(packet)
        except av.error.FFmpegError as error:
            raise InputError(
                f"the sound is damaged ({reason(error)}): repair it, or drop it"
            ) from error
        for decoded in frames:
            frame = _until(decoded, self._end_s)
            if frame is None:
                continue
            # The last of what a decoder held may come without its time.
            time_base = self._time_base = frame.time_base or self._time_base
            if frame.pts is None:
                frame.pts, frame.time_base = round(self._next_s / time_base), time_base
                heard_s = self._next_s + self._start_s
            else:
                heard_s = frame.pts * time_base
                frame.pts -= round(self._start_s / time_base)
            self._muting.erase(frame, heard_s)
            self._next_s = frame.pts * time_base + Fraction(frame.samples, frame.rate)
            yield from self.output.encode(frame)


def _end(stream: av.AudioStream) -> Fraction | None:
    """When an edit list ends a track, in seconds, though its last packet may hold more."""
    if "mp4" not in stream.container.format.name or not stream.duration or not stream.time_base:
        return None
    return ((stream.start_time or 0) + stream.duration) * stream.time_base


def _until(frame: av.AudioFrame, end_s: Fraction | None) -> av.AudioFrame | None:
    """A frame without what lies behind the end; None if nothing is left."""
    if end_s is None or frame.pts is None or frame.time_base is None:
        return frame
    room = round((end_s - frame.pts * frame.time_base) * frame.sample_rate)
    if room >= frame.samples:
        return frame
    if room <= 0:
        return None
    samples = frame.to_ndarray()
    width = 1 if frame.format.is_planar else frame.layout.nb_channels
    shorter = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples[:, : room * width]), frame.format.name, frame.layout.name
    )
    shorter.sample_rate, shorter.pts = frame.sample_rate, frame.pts
    shorter.time_base = frame.time_base
    return shorter
