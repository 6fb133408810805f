"""Write a camera's audio beside its frames: as it came, or transcoded where it has to be."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import Any, Final, Protocol

import av

from faceblur.live.audio import AudioFormat, AudioPacket
from faceblur.live.sinks.options import SinkOptions

logger = logging.getLogger(__name__)

RATE: Final = 48_000
"""Samples a second of what is transcoded."""

_TRANSPORT_STREAM: Final = frozenset({"aac", "mp3", "ac3", "eac3"})
_TAKES: Final = {
    "rtsp": frozenset({"aac", "opus", "mp3", "pcm_alaw", "pcm_mulaw", "adpcm_g722"}),
    "rtmp": frozenset({"aac", "mp3"}),
    "srt": _TRANSPORT_STREAM,
    "hls": _TRANSPORT_STREAM,
    "segments": frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"}),
    "whip": frozenset[str](),
}
"""Codecs that go into each kind of sink as they came."""

_IN_BAND: Final = ("srt", "hls")
"""Here AAC may come without the description that other containers need ahead of it."""

_ENCODERS: Final = {"whip": "libopus"}
_ENCODER: Final = "aac"
_BITS: Final = {1: 64_000, 2: 128_000}
_MAX_DRIFT_S: Final = 0.1
"""Transcoded audio is counted in samples, as long as it is no further from its time."""


class AudioTrack(Protocol):
    """The audio of one open container."""

    def write(self, packet: AudioPacket, start_s: float) -> None:
        """Write a packet; `start_s` is the time of the container's first frame."""

    def close(self) -> None:
        """Write what is left."""


def takes_audio(options: SinkOptions) -> bool:
    """Whether a sink has a place for audio at all."""
    return options.kind in _TAKES


def open_track(container: Any, format_: AudioFormat, options: SinkOptions) -> AudioTrack | None:
    """Add a stream of audio to a container that is not yet written to.

    Returns:
        None, with a warning, if this audio cannot go there.
    """
    stack = ExitStack()
    try:
        stream = stack.enter_context(format_.open())
        if _goes_as_it_is(stream, format_.codec, options):
            return _CopyTrack(container, stream, stack.pop_all(), options.label)
        name = _ENCODERS.get(options.kind, _ENCODER)
        return _TranscodeTrack(container, stream, stack.pop_all(), name, options.label)
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        stack.close()
        logger.warning("%s: goes without sound: %s: %s", options.label, format_.codec, error)
        return None


def _goes_as_it_is(stream: Any, codec: str, options: SinkOptions) -> bool:
    context = stream.codec_context
    if codec not in _TAKES[options.kind]:
        return False
    if codec == "aac" and not context.extradata:
        return options.kind in _IN_BAND
    return True


class _CopyTrack:
    """Packets as they came."""

    def __init__(self, container: Any, template: Any, opened: ExitStack, label: str) -> None:
        self._container = container
        self._stream = container.add_stream_from_template(template)
        self._opened = opened
        self._label = label
        self._pts = -1
        self._works = True

    def write(self, packet: AudioPacket, start_s: float) -> None:
        """Write a packet, in the muxer's own steps of time."""
        if not self._works or packet.time_s < start_s:
            return
        # In the muxer's own steps, in which times have to rise.
        step = self._stream.time_base
        self._pts = max(self._pts + 1, round((packet.time_s - start_s) / step))
        copy = av.Packet(packet.data)
        copy.stream, copy.time_base = self._stream, step
        copy.pts = copy.dts = self._pts
        copy.duration = round(packet.duration_s / step)
        copy.is_keyframe = True
        try:
            self._container.mux(copy)
        except (av.error.InvalidDataError, av.error.ArgumentError) as error:
            # Audio that a muxer refuses must not hold up the frames.
            self._works = False
            logger.warning("%s: goes on without sound: %s", self._label, error.strerror)

    def close(self) -> None:
        """Close the description of the stream."""
        self._opened.close()


class _TranscodeTrack:
    """Packets decoded and encoded again."""

    def __init__(
        self, container: Any, template: Any, opened: ExitStack, name: str, label: str
    ) -> None:
        self._container = container
        self._decoder = template.codec_context
        self._opened = opened
        self._label = label
        channels = 1 if self._decoder.channels == 1 and name == _ENCODER else 2
        layout = "mono" if channels == 1 else "stereo"
        self._stream = container.add_stream(name, rate=RATE, layout=layout)
        self._stream.codec_context.bit_rate = _BITS[channels]
        kind = "flt" if name == "libopus" else "fltp"
        self._resampler = av.AudioResampler(format=kind, layout=layout, rate=RATE)
        self._fifo = av.AudioFifo()
        self._taken = 0
        self._shift: int | None = None
        self._works = True

    def write(self, packet: AudioPacket, start_s: float) -> None:
        """Decode a packet, and write what the encoder makes of it."""
        time_s = packet.time_s - start_s
        if not self._works or time_s < 0:
            return
        try:
            encoded = list(self._encode(packet.data, round(time_s * RATE)))
        except av.error.InvalidDataError:
            # Garbage; the next packet may be good.
            return
        except (av.error.FFmpegError, ValueError) as error:
            self._works = False
            logger.warning("%s: goes on without sound: %s", self._label, error)
            return
        for each in encoded:
            self._container.mux(each)

    def close(self) -> None:
        """Write what the encoder still holds."""
        if self._shift is not None and self._works:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        self._opened.close()

    def _encode(self, data: bytes, start: int) -> Iterator[Any]:
        """Encode a packet whose audio begins at a sample, counted from the first frame."""
        frames = self._decoder.decode(av.Packet(data))
        expected = self._taken + self._fifo.samples + (self._shift or 0)
        if self._shift is None or abs(start - expected) > _MAX_DRIFT_S * RATE:
            # A gap, or the first; time does not go back.
            self._shift = max(self._shift or 0, start - self._taken - self._fifo.samples)
        for frame in frames:
            frame.pts = None
            for audio in self._resampler.resample(frame):
                self._fifo.write(audio)
        size = self._stream.codec_context.frame_size or 960
        while (whole := self._fifo.read(size)) is not None:
            whole.pts, whole.time_base = self._taken + self._shift, Fraction(1, RATE)
            self._taken += whole.samples
            yield from self._stream.encode(whole)
