"""Write pictures to a sink, in the sink's process."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import av

from faceblur.errors import OutputError
from faceblur.live.audio import SoundFormat, SoundPacket, SoundQueue
from faceblur.live.frame_format import Bytes, FrameFormat
from faceblur.live.sinks.encoder import INTERLEAVE, Encoder
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.scaling import FrameScaler
from faceblur.live.sinks.stuck_peers import limit_silence

logger = logging.getLogger(__name__)

HLS_LIST: Final = 6
"""Segments in an HLS playlist."""

ROOM_BYTES: Final = 10_000_000
"""With less than this a folder is as good as full."""

_MUXERS: Final = {"rtsp": "rtsp", "rtmp": "flv", "hls": "hls"}


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


class StreamWriter:
    """Publishes to a server, or into an HLS folder.

    The size of the first picture of the camera is kept, for viewers of a stream that is under way
    cannot follow a change: later ones are fitted into it.
    """

    def __init__(self, options: SinkOptions) -> None:
        self._options = options
        self._fitter = FrameScaler()
        self._container: Any = None
        self._encoder: Encoder | None = None
        self._format: FrameFormat | None = None
        self._sound: SoundFormat | None = None
        self._waiting = SoundQueue()
        self._is_provisional = True
        self._room_s = 0.0

    def write(self, output: Output) -> None:
        """See `Writer`."""
        self._waiting.add(output.packets)
        if self._must_reopen(output):
            self.close()
        try:
            self._look_for_room()
            if self._encoder is None:
                self._open(output)
            assert self._encoder is not None
            assert self._format is not None
            self._is_provisional &= output.is_placeholder
            image = self._fitter.fit(output.samples, output.format, self._format)
            self._encoder.write(image, output.time_s)
            self._encoder.write_sound(self._waiting.until(output.time_s))
        except (av.error.FFmpegError, OSError) as error:
            raise failed(self._options, error) from error

    def close(self) -> None:
        """See `Writer`."""
        container, encoder = self._container, self._encoder
        self._container = self._encoder = None
        if container is None:
            return
        try:
            if encoder is not None:
                encoder.flush()
            container.close()
        except (av.error.FFmpegError, OSError) as error:
            raise failed(self._options, error) from error

    def _look_for_room(self) -> None:
        """FFmpeg goes on writing a playlist to a full disk, and says nothing.

        Raises:
            OSError: There is no room left.
        """
        now_s = time.monotonic()
        if self._options.kind != "hls" or now_s - self._room_s < 1.0:
            return
        self._room_s = now_s
        folder = Path(self._options.target)
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < ROOM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _must_reopen(self, output: Output) -> bool:
        """Whether what was opened was for other sound, or for placeholders of another size."""
        if self._encoder is None:
            return False
        fits = output.format == self._format or output.is_placeholder
        return output.sound != self._sound or (self._is_provisional and not fits)

    def _open(self, output: Output) -> None:
        self._format, self._sound = output.format, output.sound
        self._is_provisional = True
        try:
            self._start(output.sound)
        except (ConnectionError, TimeoutError):
            raise
        except (av.error.FFmpegError, OSError) as error:
            if output.sound is None:
                raise
            # Pictures are worth more than sound: perhaps it is what the other side does not take.
            self._container = None
            self._start(None)
            logger.warning(
                "%s: goes without sound: %s: %s", self._options.label, output.sound.codec, error
            )

    def _start(self, sound: SoundFormat | None) -> None:
        self._container = self._open_container()
        raw = self._options.kind == "v4l2"
        encoder = Encoder(self._container, self._target(), self._options, raw=raw, sound=sound)
        self._container.start_encoding()
        if self._options.kind in ("rtsp", "rtmp"):
            limit_silence(self._options.write_timeout_s)
        self._encoder = encoder

    def _target(self) -> FrameFormat:
        assert self._format is not None
        return self._format

    def _open_container(self) -> Any:
        options = self._options
        timeouts = (options.open_timeout_s, options.write_timeout_s)
        if options.kind == "hls":
            folder = Path(options.target)
            folder.mkdir(parents=True, exist_ok=True)
            return av.open(
                str(folder / "index.m3u8"),
                "w",
                format="hls",
                options=_hls(options, folder) | INTERLEAVE,
            )
        if options.kind == "v4l2":
            return av.open(options.target, "w", format="v4l2")
        settings = dict(INTERLEAVE)
        if options.kind == "rtsp":
            settings["rtsp_transport"] = "tcp"
        if options.kind == "rtmp":
            settings["flvflags"] = "no_duration_filesize"
        muxer = _MUXERS[options.kind]
        return av.open(options.target, "w", format=muxer, options=settings, timeout=timeouts)


def failed(options: SinkOptions, error: BaseException) -> OutputError:
    """What to say when FFmpeg does not go on."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OutputError(f"{options.label}: {reason}")


def _hls(options: SinkOptions, folder: Path) -> dict[str, str]:
    return {
        "hls_time": f"{options.segment_s:g}",
        "hls_list_size": str(HLS_LIST),
        # Players that are behind still find the segments that just left the list.
        "hls_delete_threshold": "3",
        "hls_flags": "delete_segments+independent_segments+temp_file+program_date_time"
        "+append_list+discont_start+omit_endlist",
        "hls_start_number_source": "epoch",
        "hls_segment_filename": str(folder / "segment-%d.ts"),
    }
