"""Write frames to a sink, in the sink's process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import av

from faceblur.errors import OutputError
from faceblur.live.audio import AudioFormat, AudioPacket, AudioQueue
from faceblur.live.frame_format import Bytes, FrameFormat
from faceblur.live.sinks.encoder import Encoder
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.scaling import FrameScaler


@dataclass(frozen=True, eq=False)
class Output:
    """One frame to write.

    Attributes:
        samples: uint8, as `FrameFormat` says; only valid during the call.
        time_s: When it is shown; rises.
        arrived_s: When it came from the camera; None if it stands for frames that are not shown.
        audio: What the camera's audio is like; None without any.
        packets: Audio that has come since the frame before, of about this time.
    """

    format: FrameFormat
    samples: Bytes
    time_s: float
    arrived_s: float | None
    audio: AudioFormat | None = None
    packets: Sequence[AudioPacket] = ()

    @property
    def is_placeholder(self) -> bool:
        """Whether it stands for frames that are not shown."""
        return self.arrived_s is None


class ViewerLeftError(Exception):
    """The user has closed the window, and wants to end."""


class Writer(Protocol):
    """A sink of frames."""

    def write(self, output: Output) -> None:
        """Write one frame; opens the sink with the first one.

        Raises:
            OutputError: It cannot be written.
        """

    def close(self) -> None:
        """Write what is left, and close."""


class NullWriter:
    """Takes everything and keeps nothing; for measuring."""

    def __init__(self, _: SinkOptions) -> None: ...

    def write(self, output: Output) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class EncodedWriter:
    """Encodes frames and audio into a target that is opened with the first frame.

    Viewers of a stream that is under way cannot follow a change of size: the target keeps the size
    of the camera's first frame, and later ones are fitted into it. Placeholders that came before
    do not count, for they may be of another size than the camera's.
    """

    def __init__(self, options: SinkOptions) -> None:
        self._options = options
        self._scaler = FrameScaler()
        self._target: Any = None
        self._encoder: Encoder | None = None
        self._format: FrameFormat | None = None
        self._audio: AudioFormat | None = None
        self._waiting = AudioQueue()
        self._is_provisional = True
        """Nothing but placeholders was written to the target."""

    def open_target(self) -> Any:
        """Open what the encoder adds its streams to: a container, or something that acts as one.

        Raises:
            av.error.FFmpegError: It does not open.
            OSError: Likewise.
            OutputError: Likewise, with a sentence of its own.
        """
        raise NotImplementedError

    def write(self, output: Output) -> None:
        """Write one frame, into a new target where the open one does not fit it.

        Raises:
            OutputError: It cannot be written.
        """
        self._waiting.add(output.packets)
        if self._encoder is not None and self._must_reopen(output):
            self.close()
        try:
            self._check_target()
            if self._encoder is None:
                self._format, self._audio, self._is_provisional = output.format, output.audio, True
                self._start(output.format, output.audio)
            assert self._encoder is not None
            assert self._format is not None
            self._is_provisional &= output.is_placeholder
            image = self._scaler.fit(output.samples, output.format, self._format)
            self._encoder.write(image, output.time_s)
            self._encoder.write_audio(self._waiting.until(output.time_s))
        except (av.error.FFmpegError, OSError) as error:
            self._abandon_target()
            raise output_error(self._options, error) from error

    def close(self) -> None:
        """Write what the encoder still holds, and close the target.

        Raises:
            OutputError: It cannot be written.
        """
        target, encoder = self._target, self._encoder
        self._target = self._encoder = None
        if target is None:
            return
        try:
            if encoder is not None:
                encoder.flush()
            target.close()
            self._finish_target()
        except (av.error.FFmpegError, OSError) as error:
            self._abandon_target()
            raise output_error(self._options, error) from error

    def _must_reopen(self, output: Output) -> bool:
        fits = output.format == self._format or output.is_placeholder
        return output.audio != self._audio or (self._is_provisional and not fits)

    def _start(self, format_: FrameFormat, audio: AudioFormat | None) -> None:
        self._target = self.open_target()
        self._encoder = Encoder(self._target, format_, self._options, audio=audio)

    def _check_target(self) -> None:
        """Raise for what the target does not say by itself. Does nothing here."""

    def _finish_target(self) -> None:
        """Do what is left once the target was closed. Does nothing here."""

    def _abandon_target(self) -> None:
        """Clean up after a target that failed. Does nothing here: the sink's process ends."""


def output_error(options: SinkOptions, error: BaseException) -> OutputError:
    """What to say when FFmpeg does not go on."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OutputError(f"{options.label}: {reason}")
