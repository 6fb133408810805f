"""Read frames from a source, in the source's process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Protocol

import av

from faceblur.errors import InputError
from faceblur.live.sources.audio_tap import AudioTap
from faceblur.live.sources.clock import StreamClock
from faceblur.live.sources.hardware import device_decoder
from faceblur.live.sources.options import SourceOptions
from faceblur.live.sources.testpattern import TestPattern
from faceblur.video.options import HardwareDecoding

_PACED: Final = ("file", "hls")
"""They deliver faster than real time."""

# Not "nobuffer": it throws away what was read to find out what the stream holds, and so waits for
# the next key frame; the frames of that moment come in one go and all but the newest are dropped.
_NETWORK_OPTIONS: Final = {"flags": "low_delay", "analyzeduration": "500000"}


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """One decoded frame.

    Attributes:
        image: As decoded.
        arrived_s: When its packet came, `time.monotonic()`.
        time_s: When it is to be shown, on the same clock.
        aspect: Width over height of a pixel.
    """

    image: av.VideoFrame
    arrived_s: float
    time_s: float
    aspect: Fraction = Fraction(1)


class Reader(Protocol):
    """A source of frames.

    Attributes:
        audio: Collects the audio meanwhile; None where none is captured.
    """

    audio: AudioTap | None

    def frames(self) -> Iterator[DecodedFrame]:
        """All frames, as they come, until the source ends.

        Raises:
            InputError: It cannot be read, or not any further.
        """


def open_reader(
    options: SourceOptions, hardware: HardwareDecoding, *, capture_audio: bool = False
) -> Reader:
    """The reader for a source; it opens it when the first frame is asked for."""
    if options.kind == "testpattern":
        return PatternReader(options)
    if options.kind == "snapshot":
        return SnapshotReader(options)
    return StreamReader(options, hardware, capture_audio=capture_audio)


class SnapshotReader:
    """Single images, asked for again and again."""

    audio: AudioTap | None = None

    def __init__(self, options: SourceOptions) -> None:
        self._options = options

    def frames(self) -> Iterator[DecodedFrame]:
        """New images, one after the other, as `Snapshots` gives them."""
        # Pillow: only where it is needed.
        from faceblur.live.sources.snapshots import Snapshots

        for image in Snapshots(self._options).images():
            arrived_s = time.monotonic()
            yield DecodedFrame(image, arrived_s, arrived_s)


class PatternReader:
    """A moving test pattern, which needs no camera."""

    audio: AudioTap | None = None

    def __init__(self, options: SourceOptions) -> None:
        self._pattern = TestPattern(options.size or (640, 360), face=options.face)
        self._fps = options.fps or 15.0

    def frames(self) -> Iterator[DecodedFrame]:
        """The pattern at its pace, for ever."""
        start_s = time.monotonic()
        number = 0
        while True:
            due_s = start_s + number / self._fps
            _sleep_until(due_s)
            image = self._pattern.image(number / self._fps)
            yield DecodedFrame(image, time.monotonic(), due_s)
            # Whoever is late leaves frames out, and does not hurry.
            number = max(number + 1, int((time.monotonic() - start_s) * self._fps))


class StreamReader:
    """Whatever FFmpeg opens: networks, devices, files."""

    def __init__(
        self, options: SourceOptions, hardware: HardwareDecoding, *, capture_audio: bool = False
    ) -> None:
        self._options = options
        self._hardware = hardware
        self._clock = StreamClock(paced=options.kind in _PACED)
        self.audio = AudioTap(self._clock) if capture_audio else None

    def frames(self) -> Iterator[DecodedFrame]:
        """Decode what comes until the stream ends; a file that loops begins again."""
        while True:
            try:
                with self.open() as container:
                    yield from self.decode(container)
            except (av.error.FFmpegError, OSError) as error:
                reason = getattr(error, "strerror", None) or type(error).__name__
                raise InputError(f"{self._options.label}: {reason}") from error
            if not self._options.loop:
                return
            self._clock.restart()

    def decode(self, container: Any) -> Iterator[DecodedFrame]:
        """The frames of what `open` has opened."""
        if not container.streams.video:
            raise InputError(f"{self._options.label} has no frames")
        stream = container.streams.video[0]
        # Threads that work on several frames would keep each back for as many.
        stream.thread_type = "SLICE"
        audio = None if self.audio is None else self.audio.open(container, self._options.label)
        device = device_decoder(stream, self._hardware, self._options.label)
        arrivals: dict[int, float] = {}
        for packet in container.demux(*(each for each in (stream, audio) if each is not None)):
            if packet.stream is not stream:
                assert self.audio is not None
                self.audio.add(packet)
                continue
            arrived_s = time.monotonic()
            if packet.pts is not None:
                arrivals[packet.pts] = arrived_s
            try:
                frames = packet.decode() if device is None else device.decode(packet)
            except av.error.InvalidDataError:
                # Garbage; the next key frame makes it good.
                continue
            for frame in frames:
                frame_arrived_s = arrivals.get(frame.pts or -1, arrived_s)
                arrivals = {pts: at for pts, at in arrivals.items() if pts > (frame.pts or 0)}
                if not frame.is_corrupt:
                    yield self._stamp(frame, frame_arrived_s, stream)

    def _stamp(self, frame: av.VideoFrame, arrived_s: float, stream: Any) -> DecodedFrame:
        own_s = frame.time
        time_s = self._clock.time_s(own_s, arrived_s)
        if self._clock.paced:
            _sleep_until(time_s)
            arrived_s = max(arrived_s, time_s)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        return DecodedFrame(frame, arrived_s, time_s, Fraction(aspect))

    def open(self) -> Any:
        """Open the source with the settings that it needs.

        Raises:
            av.error.FFmpegError: It does not open.
        """
        options = self._options
        settings: dict[str, str] = {}
        if options.kind in ("rtsp", "rtmp", "mjpeg", "hls"):
            settings |= _NETWORK_OPTIONS
        if options.kind == "rtsp":
            settings["rtsp_transport"] = options.rtsp_transport
            settings["timeout"] = str(int(options.stall_timeout_s * 1e6))
        if options.kind == "webcam":
            if options.size is not None:
                settings["video_size"] = "{}x{}".format(*options.size)
            if options.fps is not None:
                settings["framerate"] = f"{options.fps:g}"
        return av.open(
            options.url,
            format="v4l2" if options.kind == "webcam" else None,
            options=settings,
            timeout=(options.open_timeout_s, options.stall_timeout_s),
        )


def _sleep_until(time_s: float) -> None:
    pause_s = time_s - time.monotonic()
    if pause_s > 0:
        time.sleep(pause_s)
