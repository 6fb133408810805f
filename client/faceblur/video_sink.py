"""Write a video: masked frames with the times they had, and the tracks that go along."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from faceblur.errors import InputError, OutputError
from faceblur.video_decoder import reason
from faceblur.video_encoders import EncoderChoice, choose_encoder
from faceblur.video_fitting import FrameFitter
from faceblur.video_formats import Container, container_for
from faceblur.video_frames import SourceFrame
from faceblur.video_metadata import describe, muxer_options
from faceblur.video_options import VideoOptions
from faceblur.video_source import VideoSource
from faceblur.video_survey import survey
from faceblur.video_tracks import Track, add_track


class VideoSink:
    """A video file that is being written; a context manager, for one thread at a time.

    Leaving the context normally completes the file. After an exception it is left incomplete,
    for `faceblur.atomic.atomic_path` to remove.
    """

    def __init__(
        self, path: Path, source: VideoSource, options: VideoOptions | None = None
    ) -> None:
        """Choose how to write, and start.

        Args:
            path: Where to; the suffix decides the container.
            source: What the frames and packets will come from.
            options: How to write.

        Raises:
            InputError: The source cannot be written so: another suffix, or other options.
            OutputError: It cannot be written here.
        """
        options = options or VideoOptions()
        self._container: Container = container_for(path)
        self._source = source
        self._choice = choose_encoder(self._container, source.properties, options)
        self._start_s = Fraction(0) if self._container.clock_starts_anywhere else source.start_s
        self._fitter = FrameFitter(source.properties, self._choice)
        self._survey = survey(source, options)
        self._pending: dict[int, SourceFrame] = {}
        self._last_tick: int | None = None
        # SVT-AV1 talks on stderr, and can only be told so.
        os.environ.setdefault("SVT_LOG", "1")
        self._output = av.open(
            str(path.absolute()),
            "w",
            format=self._container.format,
            container_options=muxer_options(self._container, source, options),
        )
        try:
            self._video = self._add_video(self._choice)
            self._tracks = self._add_tracks(options)
            describe(self._output, self._video, source, options)
            self._output.start_encoding()
        except av.error.FFmpegError as error:
            self.abandon()
            # A muxer that does not like what it is given says EPERM, of all things.
            if isinstance(error, OSError) and error.errno != errno.EPERM:
                raise
            raise self._unsuitable(reason(error)) from error
        except BaseException:
            self.abandon()
            raise

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder."""
        return self._choice.name

    @property
    def left_out(self) -> Sequence[str]:
        """What of the source's subtitles is not in it, and why; for the summary."""
        return self._survey.left_out

    def write(self, frame: SourceFrame) -> None:
        """Encode the next frame.

        Raises:
            InputError: It has a time that the container or the encoder cannot express.
            OutputError: It cannot be written.
        """
        tick = self._tick(frame)
        self._pending[tick] = frame
        image = self._fitter(frame.image)
        image.pts = tick
        image.time_base = self._tick_s
        self._encode(image)

    def copy(self, packet: av.Packet[Any]) -> None:
        """Take a packet of one of the source's tracks along.

        Raises:
            InputError: It cannot be converted.
            OutputError: It cannot be written.
        """
        track = self._tracks.get(packet.stream.index)
        if track is not None:
            self._mux(track.packets(packet))

    def finish(self) -> None:
        """Write what encoders still hold, and complete the file.

        Raises:
            OutputError: It cannot be written.
        """
        for track in self._tracks.values():
            self._mux(track.rest())
        self._encode(None)
        try:
            self._output.close()
        except av.error.FFmpegError as error:
            raise _cannot_write(error) from error

    def abandon(self) -> None:
        """Let go of the file; what is in it is not complete."""
        with suppress(av.error.FFmpegError, ValueError):
            self._output.close()

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.abandon()

    def _add_video(self, choice: EncoderChoice) -> av.VideoStream:
        source = self._source.properties
        rate = (source.rate or Fraction(25)).limit_denominator(1_001_000)
        by_rate = choice.counts_frames or self._container.fixed_rate
        self._tick_s = 1 / rate if by_rate else source.time_base
        try:
            stream = self._output.add_stream(choice.name, rate=rate, options=choice.options)
        except ValueError as error:
            raise self._unsuitable(str(error)) from error
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        context.width, context.height = self._fitter.size
        context.pix_fmt = choice.pixel_format
        context.time_base = self._tick_s
        context.thread_type = "FRAME"
        if choice.name == "libvpx":
            # Its threads wait for each other in busy loops.
            context.thread_count = 1
        self._restores_times = choice.counts_frames and not self._container.fixed_rate
        stream.time_base = source.time_base if self._restores_times else self._tick_s
        if source.sample_aspect_ratio:
            context.sample_aspect_ratio = source.sample_aspect_ratio
        context.color_range = self._fitter.color_range
        context.colorspace = self._fitter.color_space
        context.color_primaries = source.color_primaries
        context.color_trc = source.color_transfer
        if choice.tag:
            context.codec_tag = choice.tag
        try:
            context.open()
        except av.error.FFmpegError as error:
            raise self._unsuitable(reason(error)) from error
        return stream

    def _add_tracks(self, options: VideoOptions) -> dict[int, Track]:
        tracks = {}
        for stream in self._source.tracks:
            if stream.type == "audio" and options.audio == "drop":
                continue
            track = add_track(
                self._output,
                stream,
                container=self._container,
                start_s=self._start_s,
                survey=self._survey,
            )
            if track is not None:
                tracks[stream.index] = track
        if self._container.format == "matroska":
            for font in self._source.fonts:
                self._output.add_attachment(font.name or "font", font.mimetype or "", font.data)
        return tracks

    def _tick(self, frame: SourceFrame) -> int:
        """The frame's time for the encoder; later than the one before."""
        if self._restores_times:
            return frame.index
        tick = round((frame.pts_s - self._start_s) / self._tick_s)
        if self._last_tick is not None and tick <= self._last_tick:
            raise InputError(
                f"the frames of {self._source.path} come at varying times, which "
                f"{self._container.format} cannot keep: name the output .mp4 or .mkv"
            )
        self._last_tick = tick
        return tick

    def _encode(self, image: av.VideoFrame | None) -> None:
        try:
            packets = self._video.encode(image)
        except av.error.FFmpegError as error:
            raise OutputError(f"{self._choice.name} cannot encode: {reason(error)}") from error
        for packet in packets:
            self._restore(packet)
        self._mux(packets)

    def _restore(self, packet: av.Packet[Any]) -> None:
        """Give a packet what an encoder does not pass on of its frame's times."""
        if packet.pts is None or packet.pts not in self._pending:
            return
        frame = self._pending.pop(packet.pts)
        if self._restores_times:
            packet.time_base = frame.time_base
            packet.pts = packet.dts = round(frame.pts - self._start_s / frame.time_base)
            packet.duration = frame.duration
        elif frame.duration:
            packet.duration = max(1, round(frame.duration * frame.time_base / self._tick_s))

    def _mux(self, packets: Any) -> None:
        try:
            for packet in packets:
                self._output.mux(packet)
        except av.error.FFmpegError as error:
            raise _cannot_write(error) from error

    def _unsuitable(self, why: str) -> InputError:
        return InputError(
            f"{self._source.path} cannot be written as {self._container.format} with "
            f"{self._choice.name} on this machine ({why}): choose another --encoder, or name the "
            "output .mp4 or .mkv"
        )


def _cannot_write(error: av.error.FFmpegError) -> Exception:
    """An OSError says what is wrong with the disk; whoever named the file says it better."""
    if isinstance(error, OSError):
        return error
    return OutputError(f"the video cannot be written: {reason(error)}")
