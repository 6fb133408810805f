"""The threads that read and write one video, while another finds and masks its faces.

FFmpeg works outside Python's lock, so the three overlap. Frames keep their order throughout; see
`faceblur.batch.video.mask_video` for what each does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

import av

from faceblur.detection.detector import ModelInput
from faceblur.video.frames import SourceFrame
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource

Item = TypeVar("Item")


_QUEUED_FRAMES: Final = 4
_PACKET_WEIGHT: Final = 1 / 64
"""What an audio packet takes up of a queue, beside a frame."""


class ModelInputs(NamedTuple):
    """What the detector is to see of a frame.

    Attributes:
        inputs: Of the whole frame, then of the parts.
        parts: Positions of the parts in the plan.
    """

    inputs: Sequence[ModelInput]
    parts: Sequence[int] = ()


@dataclass(frozen=True, eq=False)
class DecodedFrame:
    """A frame as it was read.

    Attributes:
        model_inputs: What the detector is to see of it; None if it is not asked.
    """

    frame: SourceFrame
    model_inputs: ModelInputs | None


class VideoJob:
    """The reader and the writer of one video, each in its thread; a context manager.

    Args:
        make_inputs: What makes the inputs of the detector; None if none is asked.
    """

    def __init__(
        self,
        video: VideoSource,
        sink: VideoSink,
        make_inputs: Callable[[SourceFrame], ModelInputs | None] | None,
    ) -> None:
        self._video = video
        self._sink = sink
        self._make_inputs = make_inputs
        self._unchecked: BoundedQueue[DecodedFrame] = BoundedQueue(_QUEUED_FRAMES)
        self._finished: BoundedQueue[SourceFrame | av.Packet[Any]] = BoundedQueue(_QUEUED_FRAMES)
        queues = (self._unchecked, self._finished)
        self._reader = StageThread(self._read, *queues, name="faceblur-read")
        self._writer = StageThread(self._write, *queues, name="faceblur-write")

    def frames(self) -> Iterator[DecodedFrame]:
        """The video's frames, in order."""
        return iter(self._unchecked)

    def write(self, frame: SourceFrame) -> None:
        """Hand over the next frame, masked."""
        self._finished.put(frame)

    def __enter__(self) -> VideoJob:
        try:
            self._reader.start()
            self._writer.start()
        except BaseException:
            # Nobody calls __exit__ now, and what the threads work on is about to be closed.
            self._stop()
            raise
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
            self._stop()

    def _stop(self) -> None:
        self._unchecked.stop(_StoppedError())
        self._finished.stop(_StoppedError())
        self._reader.join()
        self._writer.join()

    def _read(self) -> None:
        for item in self._video.read():
            if isinstance(item, SourceFrame):
                model_inputs = None if self._make_inputs is None else self._make_inputs(item)
                self._unchecked.put(DecodedFrame(item, model_inputs))
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


class BoundedQueue(Generic[Item]):
    """Hands items from one thread to another, in order, a few at a time.

    `put` waits while what is there weighs as much as the capacity. When something goes wrong on
    either side, `stop` makes both sides raise what it was, at once; neither waits for the other.
    """

    def __init__(self, capacity: float) -> None:
        self._capacity = capacity
        self._load = 0.0
        self._items: deque[tuple[Item, float]] = deque()
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: Item, *, weight: float = 1.0) -> None:
        """Hand over an item, when there is room."""
        with self._changed:
            while self._error is None and self._load >= self._capacity:
                self._changed.wait()
            self._check()
            self._items.append((item, weight))
            self._load += weight
            self._changed.notify_all()

    def close(self) -> None:
        """Say that no more items come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stop(self, error: BaseException) -> None:
        """Make both sides raise an error; the first one given counts."""
        with self._changed:
            self._error = self._error or error
            self._items.clear()
            self._changed.notify_all()

    def check(self) -> None:
        """Raise the error, if there was one."""
        with self._changed:
            self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def __iter__(self) -> Iterator[Item]:
        """Take items until there are no more."""
        while True:
            with self._changed:
                while self._error is None and not self._items and not self._closed:
                    self._changed.wait()
                self._check()
                if not self._items:
                    return
                item, weight = self._items.popleft()
                self._load -= weight
                self._changed.notify_all()
            yield item


class StageThread:
    """A thread that stops all queues of its job when it fails."""

    def __init__(self, work: Callable[[], None], *queues: BoundedQueue[Any], name: str) -> None:
        self._work = work
        self._queues = queues
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start working; a signal may end the call while the thread comes up all the same."""
        self._thread.start()

    def join(self) -> None:
        """Wait until it is done, or has stopped; one that comes up later finds its queues so."""
        if self._thread.ident is not None:
            self._done.wait()

    def _run(self) -> None:
        try:
            for queue in self._queues:
                queue.check()
            self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised again on the other side
            for queue in self._queues:
                queue.stop(error)
        finally:
            self._done.set()
