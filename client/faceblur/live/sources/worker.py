"""The source's process: read, decode, reduce for the detector, hand over in shared memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from faceblur.detection.detector import ModelInput
from faceblur.detection.options import Tiles
from faceblur.detection.parts import PartPlan, Rotation
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.live.audio import MAX_BYTES, AudioFormat, put
from faceblur.live.frame_format import Bytes, FrameFormat
from faceblur.live.process.shared_frames import SLOT_BYTES
from faceblur.live.process.worker import WorkerContext
from faceblur.live.sources.options import HardwareDecoding, SourceOptions
from faceblur.live.sources.readers import DecodedFrame, open_reader
from faceblur.video.frames import SCALER_THREADS, VideoProperties
from faceblur.video.orientation import Orientation, Turner
from faceblur.video.surface import color_matrix, drawable_format, is_full_range

MAX_PARTS: Final = 8
"""Of one frame, beside the whole: all of them are answered within its deadline."""

_EARLY: Final = 0.25
"""Share of its interval by which a frame may come early and still count for its turn."""


@dataclass(frozen=True, kw_only=True)
class SourceJob:
    """What a source's process is to do.

    Attributes:
        fps: Frames per second, at most.
        size: Longest side of the model input, pixels.
        stride: Of the detector.
        tiles: Whether large frames are searched in parts, too.
        detect_every: Every so many frames carry a model input.
    """

    source: SourceOptions
    hardware: HardwareDecoding
    fps: float | None
    size: int
    stride: int
    tiles: Tiles
    detect_every: int
    capture_audio: bool = False


def model_input_offset(format_: FrameFormat) -> int:
    """Where in a slot the model input begins, bytes: after the frame, aligned."""
    return -(-format_.size_bytes // 64) * 64


@lru_cache(maxsize=64)
def plan_input(format_: FrameFormat, *, size: int, stride: int, tiles: Tiles) -> PartPlan:
    """How frames go into the model inputs; the same on both sides."""
    whole = plan_model_input(_properties(format_), size=size, stride=stride)
    return PartPlan.of(whole, tiles=tiles)


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
    """Brings frames of any kind to the form in which they are handed over."""

    def __init__(self, job: SourceJob) -> None:
        self._job = job
        self._reformatter = VideoReformatter()
        self._orientation = Orientation()
        self._turner = Turner(self._orientation)
        self._input_key: tuple[FrameFormat, int] | None = None
        self._make_input: ModelInputMaker | None = None
        self.rotation = Rotation(0)

    def upright(self, decoded: DecodedFrame) -> tuple[av.VideoFrame, FrameFormat]:
        """A frame the right way up in yuv420p, and what of it is handed over."""
        image = decoded.image
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
            aspect=orientation.aspect(decoded.aspect),
        )

    def model_inputs(
        self, format_: FrameFormat, samples: Bytes, transfer: int, time_s: float
    ) -> tuple[list[ModelInput], tuple[int, ...]]:
        """The model inputs of a frame that lies in memory, and the parts that some of them show."""
        if self._make_input is None or self._input_key != (format_, transfer):
            plan = _plan(format_, self._job)
            properties = _properties(format_, transfer)
            self._make_input = ModelInputMaker(properties, plan.whole, plan.parts)
            self._input_key = (format_, transfer)
            self.rotation = Rotation(len(plan.parts), most=_most_parts(format_, plan))
        parts = self.rotation.take(time_s)
        return self._make_input.whole_and_parts(format_.image(samples), parts), parts


class _Slots:
    """The slots that are ours to write to."""

    def __init__(self, worker: WorkerContext, rotation: Callable[[], Rotation]) -> None:
        self._worker = worker
        self._rotation = rotation
        self._free = deque(range(worker.memory.slots))

    def take(self) -> int | None:
        """A free one; None if there is none."""
        for message in self._worker.link.receive():
            self._free.append(int(message["free"]))
            self._rotation().put_back(message.get("unseen", ()))
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
    throttle, preparer = Throttle(job.fps), _Preparer(job)
    slots = _Slots(worker, lambda: preparer.rotation)
    reader = open_reader(job.source, job.hardware, capture_audio=job.capture_audio)
    announced: AudioFormat | None = None
    lost = number = 0
    for decoded in reader.frames():
        if not throttle.lets(decoded.time_s):
            continue
        slot = slots.take()
        if slot is None:
            lost += 1
            continue
        image, format_ = preparer.upright(decoded)
        audio_start = model_input_offset(format_)
        if audio_start + _plan(format_, job).input_bytes + MAX_BYTES > SLOT_BYTES:
            raise ValueError(f"frames of {format_.width} × {format_.height} are too large")
        memory = worker.memory.slot(slot)
        _copy(image, format_, memory)
        detects = number % job.detect_every == 0
        parts: tuple[int, ...] = ()
        if detects:
            transfer = image.color_trc or 2
            inputs, parts = preparer.model_inputs(format_, memory, transfer, decoded.time_s)
            for each in inputs:
                memory[audio_start : audio_start + each.size] = each.reshape(-1)
                audio_start += each.size
        number += 1
        audio: list[list[float]] = []
        if reader.audio is not None:
            announced = _announce(worker, reader.audio.format, announced)
            audio = put(reader.audio.take(), memory[audio_start:])
        worker.link.send(
            kind="frame",
            slot=slot,
            **format_.to_message(),
            arrived_s=decoded.arrived_s,
            time_s=decoded.time_s,
            model_input=detects,
            parts=parts,
            lost=lost,
            audio=[audio_start, audio],
        )
        lost = 0
    worker.link.send(kind="ended")


def _announce(
    worker: WorkerContext, audio: AudioFormat | None, announced: AudioFormat | None
) -> AudioFormat | None:
    """Say what the audio is like, once for each kind."""
    if audio is not None and audio != announced:
        worker.link.send(kind="audio", **audio.to_message())
    return audio


def _plan(format_: FrameFormat, job: SourceJob) -> PartPlan:
    return plan_input(format_, size=job.size, stride=job.stride, tiles=job.tiles)


def _most_parts(format_: FrameFormat, plan: PartPlan) -> int:
    """Parts of one frame that a slot has room for beside it, and that are answered soon enough."""
    room = SLOT_BYTES - MAX_BYTES - model_input_offset(format_)
    return max(0, min(MAX_PARTS, room // plan.input_bytes - 1))


def _copy(image: av.VideoFrame, format_: FrameFormat, memory: Bytes) -> None:
    """Copy the planes one after the other, without the padding of their rows."""
    start = 0
    for plane, step in zip(image.planes, (1, 2, 2), strict=True):
        width, height = format_.width // step, format_.height // step
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
        target = memory[start : start + width * height].reshape(height, width)
        target[:] = rows[:height, :width]
        start += width * height
