"""The source's process: read, decode, reduce for the detector, hand over in shared memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from faceblur.detection.options import Tiles
from faceblur.detection.parts import Rotation
from faceblur.live.audio import MAX_BYTES, AudioFormat, put
from faceblur.live.process.shared_frames import SLOT_BYTES
from faceblur.live.process.worker import WorkerContext
from faceblur.live.sources.options import SourceOptions
from faceblur.live.sources.preparation import Preparer, copy, model_input_offset
from faceblur.live.sources.readers import open_reader
from faceblur.video.options import HardwareDecoding

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
    throttle = Throttle(job.fps)
    preparer = Preparer(size=job.size, stride=job.stride, tiles=job.tiles)
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
        if audio_start + preparer.plan(format_).input_bytes + MAX_BYTES > SLOT_BYTES:
            raise ValueError(f"frames of {format_.width} × {format_.height} are too large")
        memory = worker.memory.slot(slot)
        copy(image, format_, memory)
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
    worker.link.send(kind="ended", lost=lost)


def _announce(
    worker: WorkerContext, audio: AudioFormat | None, announced: AudioFormat | None
) -> AudioFormat | None:
    """Say what the audio is like, once for each kind."""
    if audio is not None and audio != announced:
        worker.link.send(kind="audio", **audio.to_message())
    return audio
