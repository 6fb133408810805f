"""Go through the tracks beside the images before anything is written: what may be taken along?"""

from __future__ import annotations

import logging
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from faceblur.video.opening import open_container
from faceblur.video.options import VideoOptions
from faceblur.video.packets import Packet
from faceblur.video.source import VideoSource
from faceblur.video.subtitles import READABLE, TrackTexts, text_of

logger = logging.getLogger(__name__)

MP4_END_MARK: Final = b"\0\0"
"""An empty text, which MP4 sets where one ends."""

_ENOUGH_TEXTS: Final = 5000
"""Of one track, to know what it is like: a film has fewer."""

_RUN_IN: Final = {"aac": 2112, "mp3": 1681, "opus": 3840, "ac3": 256, "eac3": 256, "vorbis": 2048}
"""Samples that encoders put before the audio, at most, by codec; others need none."""

_SHORT_RUN_IN: Final = 312
"""Too short to hold anything, seven milliseconds; Opus fills it with what follows."""

_MAX_HEAD: Final = 16
"""Packets; a head of more is no run-in."""

_AFTER: Final = 8
"""Packets that are heard, to compare with."""

_DISCARD_ALL: Final = 48
"""AVDISCARD_ALL."""

_LOUD: Final = 1e-3
_ECHO: Final = 0.5
"""What is written before the audio is as loud as a part of it, at most: its echo."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Survey:
    """What was found in the tracks of one video.

    Attributes:
        unspoken: Text tracks, and tracks of images of texts, that stay behind.
        texts: What decides which texts of the others are kept; all are of those not in it.
        cut: Audio tracks whose packets hold audio that is not to be heard.
        muted: Audio tracks of which the user wants parts not to be heard.
        left_out: What stays behind and why, for people.
    """

    unspoken: Collection[int] = ()
    texts: Mapping[int, TrackTexts] = field(default_factory=dict)
    cut: Collection[int] = ()
    muted: Collection[int] = ()
    left_out: Sequence[str] = ()


def survey(source: VideoSource, options: VideoOptions) -> Survey:
    """Go through the tracks of a video, and warn of what stays behind.

    Raises:
        InputError: The file cannot be opened a second time.
    """
    names = {
        stream.index: stream.codec.canonical_name if stream.codec_context else ""
        for stream in source.tracks
        if stream.type == "subtitle" and not options.keep_subtitles
    }
    audio = [
        stream.index
        for stream in source.tracks
        if stream.type == "audio" and options.audio == "keep" and stream.codec_context
    ]
    texts = survey_texts(source.path, [index for index in names if names[index] in READABLE])
    left_out: list[str] = []
    for index, name in names.items():
        what, why = f"subtitles #{index}", "they do not look like speech"
        if index not in texts:
            why = f"{name or 'their kind'} cannot be read as text"
        elif texts[index].is_speech:
            data = texts[index].count["data"]
            if not data:
                continue
            what, why = f"{data} texts of {what}", "they look like positions or readings"
        logger.warning("leaving out %s: %s; --keep-subtitles keeps them", what, why)
        left_out.append(f"{what} left out, {why}")
    if source.properties.captions and not options.keep_subtitles:
        what, why = "closed captions", "they cannot be read as text"
        logger.warning("leaving out %s: %s; --keep-subtitles keeps them", what, why)
        left_out.append(f"{what} left out, {why}")
    if options.muted and not audio:
        logger.warning("%s has no sound: there is nothing to mute", source.path)
    spoken = {index: found for index, found in texts.items() if found.is_speech}
    return Survey(
        unspoken=names.keys() - spoken.keys(),
        texts=spoken,
        cut=survey_cuts(source.path, audio),
        muted=audio if options.muted else (),
        left_out=left_out,
    )


def survey_texts(path: Path, tracks: Collection[int]) -> dict[int, TrackTexts]:
    """Read the texts of some tracks, whose codecs are `READABLE`, by their index.

    Raises:
        InputError: The file cannot be opened.
    """
    found = {index: TrackTexts() for index in tracks}
    for packet in _packets(path, tracks):
        texts, content = found[packet.stream.index], bytes(packet)
        if content != MP4_END_MARK:
            texts.add(text_in(packet, packet.stream.codec_context.codec.canonical_name))
        if all(each.count.total() >= _ENOUGH_TEXTS for each in found.values()):
            break
    return found


def text_in(packet: Packet, codec: str) -> str | None:
    """What a packet of a text track says, after its name in WebVTT; None as `text_of`."""
    text = text_of(bytes(packet), codec)
    if text is None or not packet.has_sidedata("webvtt_identifier"):
        return text
    name = bytes(packet.get_sidedata("webvtt_identifier")).decode("utf-8", "replace").strip()
    # As a rule they are counted.
    return text if name.isdecimal() else f"{name}\n{text}"


def survey_cuts(path: Path, tracks: Collection[int]) -> set[int]:
    """Find the audio tracks whose packets hold more than what is to be heard.

    An edit list of MP4, or a count of samples to be skipped, cuts audio away that a copy of the
    packets would bring along. What encoders put before the audio for their own sake is no such
    audio: it is short, and as good as silent.

    Raises:
        InputError: The file cannot be opened.
    """
    heads = {index: _Head() for index in tracks}
    for packet in _packets(path, tracks):
        heads[packet.stream.index].add(packet)
        # Only an edit list cuts pieces out of the middle.
        if "mp4" not in packet.stream.container.format.name and all(
            head.is_complete for head in heads.values()
        ):
            break
    return {index for index, head in heads.items() if head.is_cut()}


def _packets(path: Path, tracks: Collection[int]) -> Iterator[Packet]:
    if not tracks:
        return
    with open_container(path) as container:
        for stream in container.streams:
            if stream.index not in tracks:
                # Older versions of PyAV read them, and pass over them later.
                with suppress(AttributeError):
                    stream.discard = _DISCARD_ALL
        wanted = [stream for stream in container.streams if stream.index in tracks]
        # Where it cannot be read on, the copying step says so.
        with suppress(av.error.FFmpegError, EOFError):
            for packet in container.demux(*wanted):
                if packet.size:
                    yield packet


@dataclass(eq=False)
class _Head:
    """The begin of an audio track, up to some audio that is heard."""

    skipped: int = 0
    is_complete: bool = False
    _packets: list[bytes] = field(default_factory=list)
    _heard: int = 0
    _pieces: bool = False
    _stream: Any = None

    def add(self, packet: Packet) -> None:
        """Take in the next packet."""
        if self.is_complete:
            self._pieces |= packet.is_discard
            return
        self._stream = packet.stream
        self._packets.append(bytes(packet))
        self.skipped = max(self.skipped, _skipped_samples(packet))
        if packet.is_discard and not self._heard:
            # Nobody reads on for what is far too long to be a run-in.
            self.is_complete = len(self._packets) > _MAX_HEAD
            return
        self._pieces |= packet.is_discard
        self._heard += 1
        self.is_complete = self._heard >= _AFTER

    def is_cut(self) -> bool:
        """Whether there is audio that is not to be heard."""
        if self._pieces or (self._packets and not self._heard):
            return True
        if not self.skipped:
            return False
        codec = self._stream.codec_context
        # With spectral band replication a coder's samples count twice.
        usual = 2 * _RUN_IN.get(codec.codec.canonical_name, 0)
        if self.skipped > usual or self.skipped <= _SHORT_RUN_IN:
            return self.skipped > usual
        samples = _decode(codec, self._packets)
        if samples is None:
            return True
        cut, heard = samples[:, : self.skipped], samples[:, self.skipped :][:, : self.skipped]
        return _loudness(cut) > max(_LOUD, _ECHO * _loudness(heard))


def _skipped_samples(packet: Packet) -> int:
    if not packet.has_sidedata("skip_samples"):
        return 0
    return int(struct.unpack_from("<I", bytes(packet.get_sidedata("skip_samples")))[0])


def _decode(codec: Any, packets: Sequence[bytes]) -> Any:
    """All samples of packets, float [channels, N], also those to be skipped; None if damaged."""
    decoder = av.CodecContext.create(codec.codec.name, "r")
    decoder.extradata = codec.extradata
    decoder.sample_rate, decoder.layout = codec.sample_rate, codec.layout
    to_float = av.AudioResampler(format="fltp")
    try:
        parts = [
            part.to_ndarray()
            for packet in packets
            for frame in decoder.decode(av.Packet(packet))
            for part in to_float.resample(frame)
        ]
    except (av.error.FFmpegError, ValueError):
        return None
    return np.concatenate(parts, axis=1) if parts else None


def _loudness(samples: Any) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0
