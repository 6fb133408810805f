"""Write frames to a sink, in the sink's process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import av

from faceblur.errors import OutputError
from faceblur.live.audio import SoundFormat, SoundPacket, SoundQueue
from faceblur.live.frame_format import Bytes, FrameFormat
from faceblur.live.sinks.encoder import Encoder
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.scaling import FrameScaler


@dataclass(frozen=True, eq=False)
class Output:
    """One picture to write.

    Attributes:
        format: Of the samples.
        samples: uint8, as `FrameFormat` says; only valid during the call.
        time_s: When it is shown; rises.
        arrived_s: When it came from the camera; None if it stands for pictures that are not shown.
        sound: What the camera's sound is like; None without any.
        packets: Sound that has come since the picture before, of about this time.
    """

    format: FrameFormat
    samples: Bytes
    time_s: float
    arrived_s: float | None
    sound: SoundFormat | None = None
    packets: Sequence[SoundPacket] = ()

    @property
    def is_placeholder(self) -> bool:
        """Whether it stands for pictures that are not shown."""
        return self.arrived_s is None


class ViewerLeftError(Exception):
    """The user has closed the window, and wants to end."""


class Writer(Protocol):
    """A sink of pictures."""

    def write(self, output: Output) -> None:
        """Write one picture; opens the sink with the first one.

        Raises:
            OutputError: It cannot be written.
        """

    def close(self) -> None:
        """Write what is left, and close."""


class NullWriter:
    """Takes everything and keeps nothing; for measuring."""

    def write(self, output: Output) -> None:
        """See `Writer`."""

    def close(self) -> None:
        """See `Writer`."""


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
        self._sound: SoundFormat | None = None
        self._waiting = SoundQueue()
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
                self._format, self._sound, self._is_provisional = output.format, output.sound, True
                self._start(output.format, output.sound)
            assert self._encoder is not None
            assert self._format is not None
            self._is_provisional &= output.is_placeholder
            image = self._scaler.fit(output.samples, output.format, self._format)
            self._encoder.write(image, output.time_s)
            self._encoder.write_sound(self._waiting.until(output.time_s))
        except (av.error.FFmpegError, OSError) as error:
            self._abandon_target()
            raise failed(self._options, error) from error

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
            raise failed(self._options, error) from error

    def _must_reopen(self, output: Output) -> bool:
        fits = output.format == self._format or output.is_placeholder
        return output.sound != self._sound or (self._is_provisional and not fits)

    def _start(self, format_: FrameFormat, sound: SoundFormat | None) -> None:
        self._target = self.open_target()
        self._encoder = Encoder(self._target, format_, self._options, sound=sound)

    def _check_target(self) -> None:
        """Raise for what the target does not say by itself. Does nothing here."""

    def _finish_target(self) -> None:
        """Do what is left once the target was closed. Does nothing here."""

    def _abandon_target(self) -> None:
        """Clean up after a target that failed. Does nothing here: the sink's process ends."""


def failed(options: SinkOptions, error: BaseException) -> OutputError:
    """What to say when FFmpeg does not go on."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OutputError(f"{options.label}: {reason}")
