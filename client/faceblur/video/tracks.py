"""Take audio and subtitles along: packet by packet, or converted where the container needs it."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final, Literal, Protocol, TypeGuard

import av
from av.subtitles.stream import SubtitleStream

from faceblur.errors import InputError
from faceblur.video.audio import ConvertedTrack, choose_audio, is_named
from faceblur.video.containers import Container
from faceblur.video.muting import Muting
from faceblur.video.packets import Packet
from faceblur.video.subtitles import TrackTexts, plain_header
from faceblur.video.survey import MP4_END_MARK, Survey, text_in

logger = logging.getLogger(__name__)

Way = Literal["copy", "convert", "leave"]

_LOSSLESS: Final = ("pcm_", "flac", "alac")
"""Codecs that can be encoded again without loss."""

_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


class Track(Protocol):
    """A track of the output that is fed with packets of the source."""

    def packets(self, packet: Packet) -> Iterator[Packet]:
        """What to write for a packet of the source."""

    def rest(self) -> Iterator[Packet]:
        """What to write at the end."""


def ways(
    stream: av.AudioStream | SubtitleStream, container: Container, survey: Survey
) -> Sequence[Way]:
    """How a track could be taken along, the best first; whether one works is to be tried."""
    other: Way = "convert" if isinstance(stream, av.AudioStream) else "leave"
    if stream.index in survey.unspoken:
        return ("leave",)
    if stream.index in survey.cut or stream.index in survey.muted:
        return (other,)
    return ("copy", other) if _may_hold(container, stream) else (other,)


def _may_hold(container: Container, stream: av.AudioStream | SubtitleStream) -> bool:
    """Whether a container has a name for such packets at all."""
    if stream.codec_context is None:
        return False
    name = stream.codec.canonical_name
    if container.holds is not None and name not in container.holds:
        return False
    if name.startswith("pcm_") and not container.plain_audio:
        return False
    with av.open(io.BytesIO(), "w", format=container.format) as output:
        try:
            output.add_stream_from_template(stream, opaque=True)
        except ValueError:
            return False
    return True


def add_track(
    output: av.container.OutputContainer,
    stream: av.AudioStream | SubtitleStream,
    way: Way,
    *,
    container: Container,
    start_s: Fraction,
    survey: Survey,
    muting: Muting,
) -> Track | None:
    """Add a track like one of the source to an output that has not been started.

    Returns:
        What to feed; None when the track is left out.

    Raises:
        InputError: Audio cannot be converted.
        ValueError: The container cannot hold such packets.
    """
    if way == "leave":
        return None
    if way == "copy":
        copy = output.add_stream_from_template(stream, opaque=True)
        _describe(stream, copy)
        if stream.index in survey.texts and stream.codec.canonical_name in ("ass", "ssa"):
            copy.codec_context.extradata = plain_header(stream.codec_context.extradata or b"")
        return CopiedTrack(
            copy,
            stream.codec.canonical_name,
            start_s=start_s,
            cut_run_in=_has_mute_run_in(stream, container),
            texts=survey.texts.get(stream.index),
            muting=muting,
        )
    assert isinstance(stream, av.AudioStream)
    if stream.codec_context is None:
        raise InputError(
            f"sound track #{stream.index} is of an unknown kind that {container.format} cannot "
            "hold: write the kind of file that the source is, or drop the sound"
        )
    encoder = _audio_encoder(stream, container, survey)
    encoding = choose_audio(stream.codec_context, encoder, rate=_only_rate(encoder, container))
    converted = ConvertedTrack(output, stream, encoding, start_s=start_s, muting=muting)
    _describe(stream, converted.output)
    return converted


def warn_of_change(
    stream: av.AudioStream | SubtitleStream, way: Way, container: Container, survey: Survey
) -> None:
    """Say what does not stay as it is."""
    name = stream.codec.canonical_name if stream.codec_context is not None else "these"
    if way == "leave" and stream.index not in survey.unspoken:
        logger.warning(
            "leaving out subtitles #%d: %s cannot hold %s", stream.index, container.format, name
        )
    elif way == "convert":
        why = f"{container.format} cannot hold {name}"
        if stream.index in survey.cut:
            why = "it holds sound that was cut away"
        elif stream.index in survey.muted:
            why = "a part of it is muted"
        elif isinstance(stream, av.AudioStream) and not is_named(stream.codec_context.layout):
            why += " of an unnamed channel layout"
        encoder = _audio_encoder(stream, container, survey)
        logger.warning("converting sound track #%d to %s: %s", stream.index, encoder, why)


def _audio_encoder(
    stream: av.AudioStream | SubtitleStream, container: Container, survey: Survey
) -> str:
    """What audio is converted with: its own codec where nothing else changes or is lost."""
    name = stream.codec.canonical_name
    again = stream.index in survey.cut or stream.index in survey.muted
    if again and name.startswith(_LOSSLESS) and _may_hold(container, stream):
        return name
    return container.audio_encoder


def _only_rate(encoder: str, container: Container) -> int | None:
    return container.audio_rate if encoder == container.audio_encoder else None


class CopiedTrack:
    """Packets that are passed on as they are, but for their clock."""

    def __init__(
        self,
        output: av.stream.Stream,
        codec: str,
        *,
        start_s: Fraction,
        cut_run_in: bool,
        texts: TrackTexts | None = None,
        muting: Muting,
    ) -> None:
        self._output = output
        self._texts = texts
        self._muting = muting
        self._start_s = start_s
        self._cut_run_in = cut_run_in
        self._last: int | None = None
        self._text = output.type == "subtitle"
        self._codec = codec

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
        if content == MP4_END_MARK or self._is_muted(packet):
            return False
        return self._texts is None or self._texts.keeps(text_in(packet, self._codec))

    def _is_muted(self, packet: Packet) -> bool:
        """Whether a subtitle says what is not to be heard."""
        if packet.pts is None:
            return bool(self._muting)
        begin_s = packet.pts * packet.time_base
        return self._muting.covers(begin_s, begin_s + (packet.duration or 0) * packet.time_base)


def _has_mute_run_in(stream: av.stream.Stream, container: Container) -> bool:
    """Whether packets before zero must stay behind.

    What MP4 has before zero is the encoder's run-in, and not to be heard. Where no edit list can
    say so, it would move everything else. Matroska and Opus have their own way to say it.
    """
    edited = "mp4" in stream.container.format.name
    return edited and not container.edit_lists and stream.name == "aac"


def is_language(name: str | None) -> TypeGuard[str]:
    """Whether this is a code of a language (ISO 639, BCP 47) rather than any text."""
    return bool(name and _LANGUAGE.fullmatch(name))


def _describe(source: av.stream.Stream, target: av.stream.Stream) -> None:
    """Say what players need to choose a track; titles may name people and stay out."""
    if is_language(source.language):
        target.metadata["language"] = source.language
    target.disposition = source.disposition
