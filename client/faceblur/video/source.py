"""Read a video file: its frames, and the packets of the tracks that go along with them."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av.stream import AttachmentStream, Disposition
from av.subtitles.stream import SubtitleStream

from faceblur.errors import InputError
from faceblur.video.alpha import alpha_decoder
from faceblur.video.decoder import FrameDecoder
from faceblur.video.frames import SourceFrame, VideoProperties
from faceblur.video.hardware.files import open_device_decoder
from faceblur.video.joints import ClockJoiner
from faceblur.video.opening import open_container
from faceblur.video.options import HardwareDecoding
from faceblur.video.packets import PacketQueue, duplicate
from faceblur.video.truncation import check_complete

logger = logging.getLogger(__name__)

_THUMBNAIL: Final = Disposition.attached_pic | Disposition.timed_thumbnails
_FONT_MARKS: Final = (b"\0\1\0\0", b"OTTO", b"true", b"ttcf", b"wOFF", b"wOF2")
_CLOCK_STARTS_ANYWHERE: Final = 0x0200
"""AVFMT_TS_DISCONT."""
_SAMPLED_PACKETS: Final = 500
_SAMPLED_BYTES: Final = 32_000_000
"""How far the first packet of each track is searched for."""


class VideoSource:
    """A video file, open for one pass; a context manager, for one thread at a time.

    Of several video tracks the main one is read. Thumbnails, attached images and data
    (timed metadata such as GPS tracks) are left out: none of them could be masked.

    Attributes:
        stream: The track that the frames come from.
        tracks: Audio and subtitle tracks.
        fonts: Attached fonts, which subtitles may need.
        samples: Copies of the first packet of each of `tracks`, by its index, where one comes
            early in the file.
        frame_count: As the container says or implies; None if it does not. An estimate.
        duration_s: Likewise.
        start_s: Where the clock starts in containers where it may start anywhere, else 0.
    """

    def __init__(self, path: Path, *, hardware: HardwareDecoding = "off") -> None:
        """Open a file and decode its first frame.

        Args:
            path: The file.
            hardware: What decodes it; the frames are the same, bit for bit.

        Raises:
            InputError: It is not a video, not complete, or cannot be read.
        """
        self.path = path
        check_complete(path)
        with ExitStack() as undo:
            self._container = undo.enter_context(open_container(path))
            self._run_ins: dict[int, int] = {}
            self.stream = main_stream(self._container, path)
            self.tracks, self.fonts = self._other_tracks()
            self._packets = PacketQueue(self._container.demux(self.stream, *self.tracks))
            self.samples = self._sample()
            # An edit list makes times of MP4 that go back; AVI counts frames.
            self._one_clock = {"mp4", "avi"} & {*self._container.format.name.split(",")}
            self._joiner = ClockJoiner(
                self._packets, broadcast=bool(self._container.format.flags & _CLOCK_STARTS_ANYWHERE)
            )
            context = alpha_decoder(self.stream, self._first_packet())
            device = None
            if context is self.stream.codec_context:
                device = open_device_decoder(path, self.stream, hardware)
            if device is not None:
                undo.callback(device.close)
            self._device = device
            self._decoder = FrameDecoder(path, self.stream, context, device)
            self._unread = self._read()
            self._peeked = self._peek()
            undo.pop_all()
        if self._decoder.properties is None:
            raise InputError(f"{path} holds no frame that can be decoded")
        self.properties: VideoProperties = self._decoder.properties
        self.duration_s = self._duration()
        self.frame_count = self._frame_count()
        self.start_s = self._start()

    @property
    def device(self) -> str | None:
        """What has decoded all frames so far; None where the CPU has decoded any."""
        device = self._device
        return device.name if device is not None and device.on_device else None

    @property
    def metadata(self) -> dict[str, str]:
        """What the container says about itself."""
        return dict(self._container.metadata)

    @property
    def chapters(self) -> list[dict[str, Any]]:
        """Chapter marks, in order, as PyAV gives them."""
        return [dict(chapter) for chapter in self._container.chapters()]

    def read(self) -> Iterator[SourceFrame | av.Packet[Any]]:
        """Go through the file once, in the order it is stored.

        Yields:
            Every frame, in order of presentation, and between them the packets of `tracks`.

        Raises:
            InputError: A frame cannot be decoded; the message names the time.
        """
        while self._peeked:
            yield self._peeked.pop(0)
        yield from self._unread

    def close(self) -> None:
        """Close the file."""
        self._unread.close()
        if self._device is not None:
            self._device.close()
        self._container.close()

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _other_tracks(self) -> tuple[list[av.AudioStream | SubtitleStream], list[AttachmentStream]]:
        tracks: list[av.AudioStream | SubtitleStream] = []
        fonts: list[AttachmentStream] = []
        for stream in self._container.streams:
            if isinstance(stream, (av.AudioStream, SubtitleStream)):
                tracks.append(stream)
            elif isinstance(stream, AttachmentStream) and _is_font(stream):
                fonts.append(stream)
            elif stream.type != "video":
                logger.info("%s: leaving out %s track #%d", self.path, stream.type, stream.index)
        return tracks, fonts

    def _sample(self) -> dict[int, av.Packet[Any]]:
        """Find how tracks begin."""
        samples: dict[int, av.Packet[Any]] = {}
        audio = {track.index for track in self.tracks if track.type == "audio"}
        size = 0
        for count in range(1, _SAMPLED_PACKETS):
            ahead = self._packets.peek(count)
            if len(ahead) < count or size > _SAMPLED_BYTES:
                break
            packet = ahead[-1]
            size += packet.size
            if packet.size and packet.stream is not self.stream:
                samples.setdefault(packet.stream.index, duplicate(packet))
            if audio <= samples.keys():
                break
        return samples

    def _first_packet(self) -> av.Packet[Any] | None:
        for count in range(1, _SAMPLED_PACKETS):
            ahead = self._packets.peek(count)
            if len(ahead) < count:
                break
            packet: av.Packet[Any] = ahead[-1]
            if packet.stream is self.stream:
                return packet
        return None

    def _peek(self) -> list[SourceFrame | av.Packet[Any]]:
        """Read up to the first frame: only it shows the orientation and the colours."""
        items: list[SourceFrame | av.Packet[Any]] = []
        for item in self._unread:
            items.append(item)
            if isinstance(item, SourceFrame):
                break
        return items

    def _read(self) -> Generator[SourceFrame | av.Packet[Any], None, None]:
        while True:
            try:
                packet = next(self._packets, None)
            except (av.error.FFmpegError, EOFError) as error:
                raise self._decoder.unreadable(error) from error
            if packet is None:
                return
            # After the last packet PyAV gives an empty one for every track.
            last = packet.size == 0 and packet.dts is None
            self._limit(packet)
            leap_s = None if self._one_clock else self._joiner.renew(packet)
            if leap_s is not None and packet.stream is self.stream:
                self._decoder.join(packet, leap_s)
            if packet.stream is self.stream:
                yield from self._decoder.decode(None if last else packet)
            elif not last:
                yield packet

    def _limit(self, packet: av.Packet[Any]) -> None:
        """Let no packet last longer than the file says that its track, or the whole, does."""
        pts, duration = packet.pts, packet.duration
        if pts is None or not duration:
            return
        end = self._end(packet, pts)
        if end is not None and pts < end < pts + duration:
            packet.duration = end - pts

    def _end(self, packet: av.Packet[Any], pts: int) -> int | None:
        """When a packet's track ends at the latest, in its ticks."""
        stream, whole = packet.stream, self._container.duration
        name = self._container.format.name
        if "mp4" in name and stream.duration and stream.start_time is not None:
            return int(stream.start_time + stream.duration)
        if "matroska" in name and whole:
            # What a track has before zero, such as Opus's run-in, is counted in the whole.
            run_in = self._run_ins.setdefault(stream.index, min(0, pts))
            return int(Fraction(whole, av.time_base) / packet.time_base) + run_in
        return None

    def _duration(self) -> float | None:
        if self.stream.duration:
            return float(self.stream.duration * self.properties.time_base)
        return self._container.duration / av.time_base if self._container.duration else None

    def _frame_count(self) -> int | None:
        if self.stream.frames:
            return self.stream.frames
        if self.duration_s and self.properties.rate:
            return max(1, round(self.duration_s * float(self.properties.rate)))
        return None

    def _start(self) -> Fraction:
        if not self._container.format.flags & _CLOCK_STARTS_ANYWHERE:
            return Fraction(0)
        starts = [
            stream.start_time * stream.time_base
            for stream in (self.stream, *self.tracks)
            if stream.start_time is not None and stream.time_base
        ]
        return min(starts, default=Fraction(0))


def main_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The video track that is masked.

    Raises:
        InputError: There is none.
    """
    videos = [
        stream
        for stream in container.streams.video
        if not stream.disposition & _THUMBNAIL and stream.codec_context is not None
    ]
    if not videos:
        kinds = {stream.type for stream in container.streams}
        what = "only sound" if kinds == {"audio"} else "no video"
        raise InputError(f"{path} is not a video: it holds {what}")
    main: av.VideoStream = max(videos, key=_importance)
    for stream in videos:
        if stream is not main:
            logger.warning(
                "%s: leaving out video track #%d: only the main one is masked", path, stream.index
            )
    return main


def _is_font(attachment: AttachmentStream) -> bool:
    """Whether an attached file says that it is a font, and begins like one."""
    return "font" in (attachment.mimetype or "") and attachment.data.startswith(_FONT_MARKS)


def _importance(stream: av.VideoStream) -> tuple[bool, int, int]:
    context = stream.codec_context
    default = bool(stream.disposition & Disposition.default)
    return default, context.width * context.height, -stream.index
