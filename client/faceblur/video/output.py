"""The file that a video is written to, with its tracks: laid out, tried, and started.

Muxers say late what they do not like, some of them only when the file is completed. So an output
is first made in memory, from start to end, of an empty frame and the first packet of each track.
What does not get through it is converted or left out, before any frame is processed.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, BinaryIO, Final

import av

from faceblur.errors import FaceblurError, InputError
from faceblur.video.audio import ConvertedTrack
from faceblur.video.containers import Container
from faceblur.video.conversion import PixelFormatConverter
from faceblur.video.encoders import EncoderChoice
from faceblur.video.metadata import describe, muxer_options
from faceblur.video.muting import Muting
from faceblur.video.opening import open_encoder, reason
from faceblur.video.options import VideoOptions
from faceblur.video.packets import duplicate
from faceblur.video.source import VideoSource
from faceblur.video.survey import Survey
from faceblur.video.tracks import Track, Way, add_track, warn_of_change, ways

_FAILURES: Final = (av.error.FFmpegError, ValueError)


@dataclass(frozen=True, eq=False)
class OutputPlan:
    """All about an output, but for how tracks are taken along; `start_s` is taken off all times."""

    container: Container
    source: VideoSource
    options: VideoOptions
    choice: EncoderChoice
    fitter: PixelFormatConverter
    start_s: Fraction
    survey: Survey
    muting: Muting = field(default_factory=Muting)

    @property
    def rate(self) -> Fraction:
        """Frames per second that the encoder is told."""
        return (self.source.properties.rate or Fraction(25)).limit_denominator(1_001_000)

    @property
    def tick_s(self) -> Fraction:
        """Seconds to one tick of the encoder's clock."""
        by_rate = self.choice.counts_frames or self.container.fixed_rate
        return 1 / self.rate if by_rate else self.source.properties.time_base

    @property
    def restores_times(self) -> bool:
        """Packets get their times back after an encoder that only counts frames."""
        return self.choice.counts_frames and not self.container.fixed_rate

    def unsuitable(self, why: str) -> InputError:
        """What to say when an output cannot be written so."""
        return InputError(
            f"{self.source.path} cannot be written as {self.container.format} with "
            f"{self.choice.name} on this machine ({why}): choose another --encoder, or name the "
            "output .mp4 or .mkv"
        )


class Output:
    """An output whose header is written; its maker closes it."""

    def __init__(self, target: str | BinaryIO, plan: OutputPlan, chosen: Mapping[int, Way]) -> None:
        """Lay out and start.

        `chosen` says by the index of each of the source's tracks how it is taken along; those that
        it does not name are left out.

        Raises:
            InputError: The encoder does not take the frames, or audio cannot be converted.
            av.error.FFmpegError: The muxer does not take the tracks.
            ValueError: Likewise.
        """
        options = muxer_options(plan.container, plan.source, plan.options)
        if not isinstance(target, str):
            # Only a file can be read again, to put its index first.
            options.pop("movflags", None)
        self.container = av.open(
            target, "w", format=plan.container.format, container_options=options
        )
        try:
            self.video = _add_video(self.container, plan)
            self.tracks = self._add_tracks(plan, chosen)
            describe(self.container, self.video, plan.source, plan.options)
            self.container.start_encoding()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Let go of the file; what is in it is not complete."""
        with suppress(av.error.FFmpegError, ValueError):
            self.container.close()

    def _add_tracks(self, plan: OutputPlan, chosen: Mapping[int, Way]) -> dict[int, Track]:
        tracks = {}
        for stream in plan.source.tracks:
            track = add_track(
                self.container,
                stream,
                chosen.get(stream.index, "leave"),
                container=plan.container,
                start_s=plan.start_s,
                survey=plan.survey,
                muting=plan.muting,
            )
            if track is not None:
                tracks[stream.index] = track
        if plan.container.format == "matroska":
            for font in plan.source.fonts:
                self.container.add_attachment(font.name or "font", font.mimetype or "", font.data)
        return tracks


def start_output(path: str, plan: OutputPlan) -> Output:
    """Decide how to take the tracks along, and start the output.

    Raises:
        InputError: The source cannot be written so.
        OSError: The file cannot be written here.
    """
    chosen = settle(plan)
    for stream in plan.source.tracks:
        if stream.index in chosen:
            warn_of_change(stream, chosen[stream.index], plan.container, plan.survey)
    try:
        return Output(path, plan, chosen)
    except InputError:
        raise
    except _FAILURES as error:
        # A muxer that does not like what it is given says EPERM, of all things.
        if isinstance(error, OSError) and error.errno != errno.EPERM:
            raise
        raise plan.unsuitable(reason(error)) from error


def settle(plan: OutputPlan) -> dict[int, Way]:
    """Find the best way to take each track along that the output can be completed with.

    Raises:
        InputError: There is none for some audio, or the frames themselves do not fit.
    """
    left = {
        stream.index: list(ways(stream, plan.container, plan.survey))
        for stream in plan.source.tracks
        if plan.options.audio == "keep" or stream.type != "audio"
    }
    if _failure(plan, {index: choices[0] for index, choices in left.items()}) is not None:
        why = _failure(plan, {})
        if why is not None:
            raise _refusal(plan, why) from why
        for index, choices in left.items():
            while (why := _failure(plan, {index: choices[0]})) is not None:
                if len(choices) == 1:
                    raise InputError(
                        f"sound track #{index} of {plan.source.path} cannot be written to "
                        f"{plan.container.format} ({reason(why)}): name the output .mkv, or drop "
                        "the sound"
                    ) from why
                choices.pop(0)
        chosen = {index: choices[0] for index, choices in left.items()}
        why = _failure(plan, chosen)
        if why is not None:
            raise _refusal(plan, why) from why
    return {index: choices[0] for index, choices in left.items()}


def _refusal(plan: OutputPlan, why: Exception) -> FaceblurError:
    return why if isinstance(why, FaceblurError) else plan.unsuitable(reason(why))


def _failure(plan: OutputPlan, chosen: Mapping[int, Way]) -> Exception | None:
    """What goes wrong with a small output of the kind."""
    try:
        output = Output(io.BytesIO(), plan, chosen)
        try:
            for packet in _first_packets(output, plan):
                output.container.mux(packet)
            output.container.close()
        finally:
            output.abandon()
    except (*_FAILURES, FaceblurError) as error:
        return error
    return None


def _first_packets(output: Output, plan: OutputPlan) -> list[Any]:
    empty = av.VideoFrame(*plan.fitter.size, plan.choice.pixel_format)
    for plane in empty.planes:
        plane.update(bytes(plane.buffer_size))
    empty.pts, empty.time_base = 0, plan.tick_s
    packets = [*output.video.encode(empty), *output.video.encode(None)]
    for packet in packets:
        packet.pts = packet.dts = 0
        if plan.restores_times:
            packet.time_base = plan.source.properties.time_base
    for index, track in output.tracks.items():
        if isinstance(track, ConvertedTrack):
            packets += track.silence()
        elif index in plan.source.samples:
            packets += track.packets(duplicate(plan.source.samples[index]))
    return packets


def _add_video(output: av.container.OutputContainer, plan: OutputPlan) -> av.VideoStream:
    source, choice = plan.source.properties, plan.choice
    try:
        stream = output.add_stream(choice.name, rate=plan.rate, options=choice.options)
    except ValueError as error:
        raise plan.unsuitable(str(error)) from error
    assert isinstance(stream, av.VideoStream)
    context = stream.codec_context
    context.width, context.height = plan.fitter.size
    context.pix_fmt = choice.pixel_format
    context.time_base = plan.tick_s
    context.thread_type = "FRAME"
    if choice.name == "libvpx":
        # Its threads wait for each other in busy loops.
        context.thread_count = 1
    stream.time_base = source.time_base if plan.restores_times else plan.tick_s
    if source.sample_aspect_ratio:
        context.sample_aspect_ratio = source.sample_aspect_ratio
    context.color_range = plan.fitter.color_range
    context.colorspace = plan.fitter.color_space
    context.color_primaries = source.color_primaries
    context.color_trc = source.color_transfer
    if choice.tag:
        context.codec_tag = choice.tag
    try:
        open_encoder(context)
    except av.error.FFmpegError as error:
        raise plan.unsuitable(reason(error)) from error
    return stream
