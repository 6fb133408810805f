"""The threads that read and write one video, while another finds and masks its faces.

    reader thread      decode → canvas ─┐
    this thread              detect → mask ─┐
    writer thread                    encode → mux

FFmpeg works outside Python's lock, so the three overlap. Frames keep their order throughout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

from faceblur.video_canvas import CanvasMaker
from faceblur.video_frames import SourceFrame
from faceblur.video_lane import Lane, Worker
from faceblur.video_sink import VideoSink
from faceblur.video_source import VideoSource

_QUEUED_FRAMES: Final = 4
_PACKET_WEIGHT: Final = 1 / 64
"""What a packet of sound takes up of a queue, beside a frame."""


@dataclass(frozen=True, eq=False)
class UncheckedFrame:
    """A frame as it was read.

    Attributes:
        frame: The frame.
        canvas: What the detector is to see of it; None if it is not asked.
    """

    frame: SourceFrame
    canvas: npt.NDArray[np.uint8] | None


class VideoJob:
    """The reader and the writer of one video, each in its thread; a context manager.

    Args:
        video: What is read.
        sink: Where it is written.
        make_canvas: What makes canvases; None if the detector is not asked.
    """

    def __init__(
        self, video: VideoSource, sink: VideoSink, make_canvas: CanvasMaker | None
    ) -> None:
        self._video = video
        self._sink = sink
        self._make_canvas = make_canvas
        self._unchecked: Lane[UncheckedFrame] = Lane(_QUEUED_FRAMES)
        self._finished: Lane[SourceFrame | av.Packet[Any]] = Lane(_QUEUED_FRAMES)
        lanes = (self._unchecked, self._finished)
        self._reader = Worker(self._read, *lanes, name="faceblur-read")
        self._writer = Worker(self._write, *lanes, name="faceblur-write")

    def frames(self) -> Iterator[UncheckedFrame]:
        """The video's frames, in order."""
        return iter(self._unchecked)

    def write(self, frame: SourceFrame) -> None:
        """Hand over the next frame, masked."""
        self._finished.put(frame)

    def __enter__(self) -> VideoJob:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        """Wait for both threads; after an exception they stop with the frame they are at."""
        try:
            if kind is None:
                self._reader.join()
                self._finished.close()
                self._writer.join()
                self._finished.check()
        finally:
            self._unchecked.stop(_StoppedError())
            self._finished.stop(_StoppedError())
            self._reader.join()
            self._writer.join()

    def _read(self) -> None:
        for item in self._video.read():
            if isinstance(item, SourceFrame):
                canvas = None if self._make_canvas is None else self._make_canvas(item.image)
                self._unchecked.put(UncheckedFrame(item, canvas))
            else:
                self._finished.put(item, weight=_PACKET_WEIGHT)
        self._unchecked.close()

    def _write(self) -> None:
        for item in self._finished:
            if isinstance(item, SourceFrame):
                self._sink.write(item)
            else:
                self._sink.copy(item)


class _StoppedError(Exception):
    """Another part of the job has failed, and says why."""
