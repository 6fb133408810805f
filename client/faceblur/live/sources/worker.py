"""The source's process: read, decode, reduce for the detector, hand over in shared memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from faceblur.detection.letterbox import Letterbox
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.live.audio import MAX_BYTES, SoundFormat, put
from faceblur.live.frame_format import Bytes, FrameFormat
from faceblur.live.process.shared_frames import SLOT_BYTES
from faceblur.live.process.worker import WorkerContext, run
from faceblur.live.sources.options import HardwareDecoding, SourceOptions
from faceblur.live.sources.readers import DecodedFrame, open_reader
from faceblur.video.frames import SCALER_THREADS, VideoProperties
from faceblur.video.orientation import Orientation, Turner
from faceblur.video.surface import color_matrix, drawable_format, is_full_range

_EARLY: Final = 0.25
"""Share of its interval by which a frame may come early and still count for its turn."""


@dataclass(frozen=True, kw_only=True)
class SourceJob:
    """What a source's process is to do.

    Attributes:
        source: What to read.
        hardware: What to decode on.
        fps: Frames per second, at most.
        size: Longest side of the detector's picture, pixels.
        stride: Of the detector.
        detect_every: Every so many frames carry a picture for the detector.
        listen: Hand over the sound too.
    """

    source: SourceOptions
    hardware: HardwareDecoding
    fps: float | None
    size: int
    stride: int
    detect_every: int
    listen: bool = False


def canvas_offset(format_: FrameFormat) -> int:
    """Where in a slot the detector's picture begins, bytes: after the frame, aligned."""
    return -(-format_.size_bytes // 64) * 64


def plan_canvas(format_: FrameFormat, *, size: int, stride: int) -> Letterbox:
    """How frames go into the detector's picture; the same on both sides."""
    return plan_model_input(_properties(format_), size=size, stride=stride)


def _properties(format_: FrameFormat, transfer: int = 2) -> VideoProperties:
    return VideoProperties(
        width=format_.width,
        height=format_.height,
        pixel_format="yuv420p",
        time_base=Fraction(1, 1000),
        sample_aspect_ratio=format_.aspect,
        color_transfer=transfer,
    )


class _Preparer:
    """Brings pictures of any kind to the form in which they are handed over."""

    def __init__(self, job: SourceJob) -> None:
        self._job = job
        self._reformatter = VideoReformatter()
        self._orientation = Orientation()
        self._turner = Turner(self._orientation)
        self._canvas_key: tuple[FrameFormat, int] | None = None
        self._make_canvas: ModelInputMaker | None = None

    def upright(self, picture: DecodedFrame) -> tuple[av.VideoFrame, FrameFormat]:
        """A picture the right way up in yuv420p, and what of it is handed over."""
        image = picture.image
        orientation = Orientation.of(image)
        if not orientation.upright:
            if orientation != self._orientation:
                self._orientation, self._turner = orientation, Turner(orientation)
            name = drawable_format(image.format.name)
            if name != image.format.name:
                image = self._reformatter.reformat(image, format=name, threads=SCALER_THREADS)
            image = self._turner(image)
        matrix, full_range = color_matrix(image), is_full_range(image)
        if image.format.name not in ("yuv420p", "yuvj420p"):
            image = self._reformatter.reformat(
                image,
                format="yuv420p",
                dst_color_range=2 if full_range else 1,
                threads=SCALER_THREADS,
            )
        return image, FrameFormat(
            # What is over is cut off.
            width=image.width & ~1,
            height=image.height & ~3,
            matrix=matrix,
            full_range=full_range,
            aspect=orientation.aspect(picture.aspect),
        )

    def canvas(self, format_: FrameFormat, samples: Bytes, transfer: int) -> Bytes:
        """The detector's picture of a frame that lies in memory."""
        if self._make_canvas is None or self._canvas_key != (format_, transfer):
            job = self._job
            letterbox = plan_canvas(format_, size=job.size, stride=job.stride)
            self._make_canvas = ModelInputMaker(_properties(format_, transfer), letterbox)
            self._canvas_key = (format_, transfer)
        return self._make_canvas(format_.image(samples))


class _Slots:
    """The slots that are ours to write to."""

    def __init__(self, worker: WorkerContext) -> None:
        self._worker = worker
        self._free = deque(range(worker.ring.slots))

    def take(self) -> int | None:
        """A free one; None if there is none."""
        for message in self._worker.link.receive():
            self._free.append(int(message["free"]))
        return self._free.popleft() if self._free else None


class Throttle:
    """Lets through so many frames per second."""

    def __init__(self, fps: float | None) -> None:
        self._interval_s = 0.0 if fps is None else 1 / fps
        self._due_s = float("-inf")

    def lets(self, time_s: float) -> bool:
        """Whether a frame's turn has come."""
        if time_s < self._due_s - _EARLY * self._interval_s:
            return False
        # A frame that is late does not bring the next one forward.
        self._due_s = max(self._due_s + self._interval_s, time_s)
        return True


def work(worker: WorkerContext) -> None:
    """Read until the source ends."""
    job: SourceJob = worker.settings
    slots, throttle, preparer = _Slots(worker), Throttle(job.fps), _Preparer(job)
    reader = open_reader(job.source, job.hardware, listen=job.listen)
    announced: SoundFormat | None = None
    lost = number = 0
    for picture in reader.pictures():
        if not throttle.lets(picture.time_s):
            continue
        slot = slots.take()
        if slot is None:
            lost += 1
            continue
        image, format_ = preparer.upright(picture)
        start = canvas_offset(format_)
        sound_start = start + 3 * _canvas_area(format_, job)
        if sound_start + MAX_BYTES > SLOT_BYTES:
            raise ValueError(f"frames of {format_.width} × {format_.height} are too large")
        memory = worker.ring.slot(slot)
        _copy(image, format_, memory)
        looks = number % job.detect_every == 0
        if looks:
            canvas = preparer.canvas(format_, memory, image.color_trc or 2)
            memory[start : start + canvas.size] = canvas.reshape(-1)
        number += 1
        sound: list[list[float]] = []
        if reader.sound is not None:
            announced = _announce(worker, reader.sound.format, announced)
            sound = put(reader.sound.take(), memory[sound_start:])
        worker.link.send(
            kind="frame",
            slot=slot,
            **format_.to_message(),
            arrived_s=picture.arrived_s,
            time_s=picture.time_s,
            canvas=looks,
            lost=lost,
            sound=[sound_start, sound],
        )
        lost = 0
    worker.link.send(kind="ended")


def _announce(
    worker: WorkerContext, sound: SoundFormat | None, announced: SoundFormat | None
) -> SoundFormat | None:
    """Say what the sound is like, once for each kind."""
    if sound is not None and sound != announced:
        worker.link.send(kind="sound", **sound.to_message())
    return sound


def _canvas_area(format_: FrameFormat, job: SourceJob) -> int:
    height, width = plan_canvas(format_, size=job.size, stride=job.stride).shape
    return height * width


def _copy(image: av.VideoFrame, format_: FrameFormat, memory: Bytes) -> None:
    """Copy the planes one after the other, without the padding of their rows."""
    start = 0
    for plane, step in zip(image.planes, (1, 2, 2), strict=True):
        width, height = format_.width // step, format_.height // step
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
        target = memory[start : start + width * height].reshape(height, width)
        target[:] = rows[:height, :width]
        start += width * height


def main() -> None:
    """Run as a child process."""
    run(work)
