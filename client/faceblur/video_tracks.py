"""Take sound and subtitles along: packet by packet, or converted where the container needs it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final, Protocol, TypeGuard

import av
import numpy as np
from av.subtitles.stream import SubtitleStream

from faceblur.errors import InputError
from faceblur.video_decoder import reason
from faceblur.video_formats import Container
from faceblur.video_survey import MP4_END_MARK, Survey
from faceblur.video_texts import TrackTexts, text_of

logger = logging.getLogger(__name__)

Packet = Any
"""av.Packet, which takes no type argument at run time."""

_BITS_PER_CHANNEL: Final = 96_000
_LAYOUTS: Final = {"5.1(side)": "5.1"}
"""What encoders take, for layouts that they do not."""

_LOSSLESS: Final = ("pcm_", "flac", "alac")
"""Codecs that can be encoded again without loss."""

_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


class Track(Protocol):
    """A track of the output that is fed with packets of the source."""

    def packets(self, packet: Packet) -> Iterator[Packet]:
        """What to write for a packet of the source."""

    def rest(self) -> Iterator[Packet]:
        """What to write at the end."""


def add_track(
    output: av.container.OutputContainer,
    stream: av.AudioStream | SubtitleStream,
    *,
    container: Container,
    start_s: Fraction,
    survey: Survey | None = None,
) -> Track | None:
    """Add a track like one of the source to an output that has not been started.

    Args:
        output: Where to.
        stream: The source's track.
        container: What kind of file the output is.
        start_s: Subtracted from all times.
        survey: What was found in the tracks; without, all of them are taken as they are.

    Returns:
        What to feed; None when the track cannot be taken along, which is logged.

    Raises:
        InputError: Sound can neither be copied nor converted.
    """
    survey = survey or Survey()
    if stream.index in survey.unspoken:
        return None
    if stream.index in survey.cut and isinstance(stream, av.AudioStream):
        encoder = container.audio_encoder
        name = stream.codec.canonical_name
        if name.startswith(_LOSSLESS) and name in output.supported_codecs:
            encoder = name
        logger.warning(
            "converting sound track #%d to %s: it holds sound that was cut away",
            stream.index,
            encoder,
        )
        return ConvertedTrack(output, stream, encoder=encoder, start_s=start_s)
    copy = _copy(output, stream, container)
    if copy is not None:
        _describe(stream, copy)
        cut_run_in = _has_mute_run_in(stream, container)
        return CopiedTrack(
            copy, start_s=start_s, cut_run_in=cut_run_in, texts=survey.texts.get(stream.index)
        )
    if not isinstance(stream, av.AudioStream):
        logger.warning(
            "leaving out subtitles #%d: %s cannot hold %s",
            stream.index,
            container.format,
            stream.name or "these",
        )
        return None
    if stream.codec_context is None:
        raise InputError(
            f"sound track #{stream.index} is of an unknown kind that {container.format} cannot "
            "hold: write the kind of file that the source is, or drop the sound"
        )
    logger.warning(
        "converting sound track #%d to %s: %s cannot hold %s",
        stream.index,
        container.audio_encoder,
        container.format,
        stream.codec.canonical_name,
    )
    return ConvertedTrack(output, stream, encoder=container.audio_encoder, start_s=start_s)


def _copy(
    output: av.container.OutputContainer,
    stream: av.AudioStream | SubtitleStream,
    container: Container,
) -> av.stream.Stream | None:
    """A track for the same packets, if the container can hold them."""
    if stream.codec_context is None:
        return None
    if container.holds is not None and stream.codec.canonical_name not in container.holds:
        return None
    try:
        return output.add_stream_from_template(stream, opaque=True)
    except ValueError:
        return None


class CopiedTrack:
    """Packets that are passed on as they are, but for their clock."""

    def __init__(
        self,
        output: av.stream.Stream,
        *,
        start_s: Fraction,
        cut_run_in: bool,
        texts: TrackTexts | None = None,
    ) -> None:
        self._output = output
        self._texts = texts
        self._start_s = start_s
        self._cut_run_in = cut_run_in
        self._last: int | None = None
        self._text = output.type == "subtitle"

    def packets(self, packet: Packet) -> Iterator[Packet]:
        """The packet itself, or nothing."""
        if self._text and not self._is_worth_keeping(packet):
            return
        time_base = packet.time_base
        shift = round(self._start_s / time_base)
        pts = packet.dts if packet.pts is None else packet.pts
        if pts is None:
            return
        pts -= shift
        if self._cut_run_in and pts < 0:
            if pts + (packet.duration or 0) <= 0:
                return
            pts = 0
        dts = pts if packet.dts is None or pts == 0 else packet.dts - shift
        if self._last is not None and dts <= self._last and not self._text:
            dts = self._last + 1
        self._last = dts
        packet.pts, packet.dts = max(pts, dts), dts
        packet.stream = self._output
        yield packet

    def rest(self) -> Iterator[Packet]:
        """Nothing."""
        return iter(())

    def _is_worth_keeping(self, packet: Packet) -> bool:
        """Whether a subtitle is one: no end mark of MP4's, which its muxer sets itself, no data."""
        content = bytes(packet)
        if content == MP4_END_MARK:
            return False
        texts = self._texts
        return texts is None or texts.keeps(
            text_of(content, packet.stream.codec_context.codec.canonical_name)
        )


class ConvertedTrack:
    """Sound that is decoded and encoded again."""

    def __init__(
        self,
        output: av.container.OutputContainer,
        stream: av.AudioStream,
        *,
        encoder: str,
        start_s: Fraction,
    ) -> None:
        source = stream.codec_context
        rate = 48_000 if encoder == "libopus" else source.sample_rate
        self._stream = stream
        self._start_s = start_s
        self._end_s = _end(stream)
        added = output.add_stream(encoder, rate=rate)
        assert isinstance(added, av.AudioStream)
        self._output = added
        layout = source.layout.name
        self._output.codec_context.layout = _LAYOUTS.get(layout, layout)
        self._output.codec_context.bit_rate = _BITS_PER_CHANNEL * source.layout.nb_channels
        self._output.codec_context.time_base = Fraction(1, rate)
        self._output.time_base = Fraction(1, rate)
        _describe(stream, self._output)

    def packets(self, packet: Packet) -> Iterator[Packet]:
        """The packets that the encoder has ready."""
        yield from self._encoded(packet)

    def rest(self) -> Iterator[Packet]:
        """What decoder and encoder still hold."""
        yield from self._encoded(None)
        yield from self._output.encode(None)

    def _encoded(self, packet: Packet | None) -> Iterator[Packet]:
        try:
            frames = self._stream.codec_context.decode(packet)
        except av.error.FFmpegError as error:
            raise InputError(
                f"the sound is damaged ({reason(error)}): repair it, or drop it"
            ) from error
        for decoded in frames:
            frame = _until(decoded, self._end_s)
            if frame is None:
                continue
            if frame.pts is not None and frame.time_base:
                frame.pts -= round(self._start_s / frame.time_base)
            yield from self._output.encode(frame)


def _has_mute_run_in(stream: av.stream.Stream, container: Container) -> bool:
    """Whether packets before zero must stay behind.

    What MP4 has before zero is the encoder's run-in, and not to be heard. Where no edit list can
    say so, it would move everything else. Matroska and Opus have their own way to say it.
    """
    edited = "mp4" in stream.container.format.name
    return edited and not container.edit_lists and stream.name == "aac"


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


def is_language(name: str | None) -> TypeGuard[str]:
    """Whether this is a code of a language (ISO 639, BCP 47) rather than any text."""
    return bool(name and _LANGUAGE.fullmatch(name))


def _describe(source: av.stream.Stream, target: av.stream.Stream) -> None:
    """Say what players need to choose a track; titles may name people and stay out."""
    if is_language(source.language):
        target.metadata["language"] = source.language
    target.disposition = source.disposition
