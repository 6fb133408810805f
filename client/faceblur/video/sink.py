"""Write a video: masked frames with the times they had, and the tracks that go along."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from faceblur.errors import InputError, OutputError
from faceblur.video.containers import container_for
from faceblur.video.conversion import PixelFormatConverter
from faceblur.video.encoders import choose_encoder, on_device
from faceblur.video.frames import SourceFrame
from faceblur.video.muting import Muting
from faceblur.video.opening import reason
from faceblur.video.options import VideoOptions
from faceblur.video.output import OutputPlan, start_output
from faceblur.video.source import VideoSource
from faceblur.video.survey import survey

logger = logging.getLogger(__name__)

_MAX_REORDERED_S: Final = 3600


class VideoSink:
    """A video file that is being written; a context manager, for one thread at a time.

    Leaving the context normally completes the file. After an exception it is left incomplete,
    for `faceblur.files.atomic_path` to remove.
    """

    def __init__(
        self, path: Path, source: VideoSource, options: VideoOptions | None = None
    ) -> None:
        """Choose how to write, and start.

        Raises:
            InputError: The source cannot be written so: another suffix, or other options.
            OutputError: It cannot be written here.
        """
        options = options or VideoOptions()
        container = container_for(path)
        choice = choose_encoder(container, source.properties, options)
        self._plan = OutputPlan(
            container,
            source,
            options,
            choice,
            PixelFormatConverter(source.properties, choice),
            Fraction(0) if container.clock_starts_anywhere else source.start_s,
            survey(source, options),
            Muting(options.muted, start_s=source.start_s),
        )
        self._pending: dict[int, SourceFrame] = {}
        self._last_tick: int | None = None
        # SVT-AV1 talks on stderr, and can only be told so.
        os.environ.setdefault("SVT_LOG", "1")
        self._output = start_output(str(path.absolute()), self._plan)

    @property
    def encoder(self) -> str:
        """FFmpeg's name of the encoder."""
        return self._plan.choice.name

    @property
    def device(self) -> str | None:
        """The encoder, where that is not one of the CPU."""
        return self.encoder if on_device(self.encoder) else None

    @property
    def left_out(self) -> Sequence[str]:
        """What of the source is not in it, and why; whole once it is finished."""
        return [*self._plan.survey.left_out, *self._plan.muting.told]

    def write(self, frame: SourceFrame) -> None:
        """Encode the next frame.

        Raises:
            InputError: It has a time that the container or the encoder cannot express.
            OutputError: It cannot be written.
        """
        tick = self._tick(frame)
        self._pending[tick] = frame
        image = self._plan.fitter(frame.image)
        image.pts = tick
        image.time_base = self._plan.tick_s
        self._encode(image)

    def copy(self, packet: av.Packet[Any]) -> None:
        """Take a packet of one of the source's tracks along.

        Raises:
            InputError: It cannot be converted.
            OutputError: It cannot be written.
        """
        track = self._output.tracks.get(packet.stream.index)
        if track is not None:
            self._mux(track.packets(packet))

    def finish(self) -> None:
        """Write what encoders still hold, and complete the file.

        Raises:
            OutputError: It cannot be written.
        """
        for track in self._output.tracks.values():
            self._mux(track.rest())
        self._encode(None)
        try:
            self._output.container.close()
        except av.error.FFmpegError as error:
            raise _cannot_write(error) from error
        for span in self._plan.muting.unmet if self._plan.survey.muted else ():
            logger.warning(
                "%s has no sound at %s: nothing was muted", self._plan.source.path, span.time
            )

    def abandon(self) -> None:
        """Let go of the file; what is in it is not complete."""
        self._output.abandon()

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.abandon()

    def _tick(self, frame: SourceFrame) -> int:
        """The frame's time for the encoder; later than the one before."""
        if self._plan.restores_times:
            return frame.index
        tick = round((frame.pts_s - self._plan.start_s) / self._plan.tick_s)
        if self._last_tick is not None and tick <= self._last_tick:
            raise InputError(
                f"the frames of {self._plan.source.path} come at varying times, which "
                f"{self._plan.container.format} cannot keep: name the output .mp4 or .mkv"
            )
        self._last_tick = tick
        return tick

    def _encode(self, image: av.VideoFrame | None) -> None:
        try:
            packets = self._output.video.encode(image)
        except av.error.FFmpegError as error:
            raise OutputError(f"{self._plan.choice.name} cannot encode: {reason(error)}") from error
        for packet in packets:
            self._restore(packet)
        self._mux(packets)

    def _restore(self, packet: av.Packet[Any]) -> None:
        """Give a packet what an encoder does not pass on of its frame's times."""
        # x265 has never set them where there are fewer frames than it would reorder.
        apart = 0 if packet.dts is None or packet.pts is None else abs(packet.pts - packet.dts)
        if apart * self._plan.tick_s > _MAX_REORDERED_S:
            packet.dts = packet.pts
        if packet.pts is None or packet.pts not in self._pending:
            return
        frame = self._pending.pop(packet.pts)
        if self._plan.restores_times:
            packet.time_base = frame.time_base
            packet.pts = packet.dts = round(frame.pts - self._plan.start_s / frame.time_base)
            packet.duration = frame.duration
        elif frame.duration:
            packet.duration = max(1, round(frame.duration * frame.time_base / self._plan.tick_s))

    def _mux(self, packets: Any) -> None:
        try:
            for packet in packets:
                self._output.container.mux(packet)
        except av.error.FFmpegError as error:
            raise _cannot_write(error) from error


def _cannot_write(error: av.error.FFmpegError) -> Exception:
    """An OSError says what is wrong with the disk; the caller words it better."""
    if isinstance(error, OSError):
        return error
    return OutputError(f"the video cannot be written: {reason(error)}")
