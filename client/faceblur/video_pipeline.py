"""One video file, from the source to the masked result.

    reader thread      decode → canvas ─┐
    this thread              detect → mask ─┐
    writer thread                    encode → mux

FFmpeg works outside Python's lock, so the three overlap. Frames keep their order throughout.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import numpy.typing as npt

from faceblur import tracking
from faceblur.atomic import atomic_path
from faceblur.detections import Detections
from faceblur.detector import Detector
from faceblur.errors import DeadlineError, ServerError
from faceblur.letterbox import Letterbox
from faceblur.masks import Masker
from faceblur.policy import Policy
from faceblur.report import FrameLog, MediaReport, OnComplete, completion
from faceblur.tracking import CoverOptions
from faceblur.tracking.video import frame_bytes, thumbnail
from faceblur.video_canvas import CanvasMaker, plan_letterbox
from faceblur.video_formats import container_for
from faceblur.video_frames import SourceFrame, VideoProperties
from faceblur.video_lane import Lane, Worker
from faceblur.video_options import VideoOptions
from faceblur.video_sink import VideoSink
from faceblur.video_source import VideoSource
from faceblur.video_surface import VideoSurface

__all__ = ["CheckedFrame", "Progress", "VideoOptions", "blur_video"]

_QUEUED_FRAMES = 4
_PACKET_WEIGHT = 1 / 64
"""What a packet of sound takes up of a queue, beside a frame."""


class Progress(NamedTuple):
    """How far a video is.

    Attributes:
        done: Frames that are masked.
        total: Frames there are, as far as the file says; None if it does not.
    """

    done: int
    total: int | None


class CheckedFrame(NamedTuple):
    """A frame and where its faces are, in its pixels; None if the detector was not asked."""

    frame: SourceFrame
    detections: Detections | None


@dataclass(frozen=True, eq=False)
class _Unchecked:
    frame: SourceFrame
    canvas: npt.NDArray[np.uint8]


def blur_video(
    source: Path,
    output: Path,
    *,
    detector: Detector,
    policy: Policy,
    in_flight: int = 4,
    deadline_s: float = 10.0,
    on_progress: Callable[[Progress], None] | None = None,
    options: VideoOptions | None = None,
    on_complete: OnComplete | None = None,
) -> MediaReport:
    """Mask the faces in every frame of a video.

    The output appears when every frame was checked and masked, or not at all. Memory does not
    grow with the length of the video, but for what the report holds.

    Args:
        source: The video.
        output: Where the result goes; the suffix decides the container.
        detector: What finds the faces.
        policy: What is masked and how.
        in_flight: Frames that the detector is given at once.
        deadline_s: Seconds to wait for the answer to one frame.
        on_progress: Called after each frame, in this thread.
        options: How to write.
        on_complete: See `faceblur.report.OnComplete`.

    Returns:
        What was masked, in pixels of the upright frames; faces that were filled in between the
        found ones have score 0.

    Raises:
        InputError: The source cannot be read to its end, or not be written as asked.
        OutputError: The output cannot be written.
        ServerError: A frame could not be checked for faces.
    """
    container_for(output)
    masker, threshold, cover = Masker(policy.mask), policy.threshold, policy.cover
    with VideoSource(source) as video:
        letterbox = plan_letterbox(video.properties, size=policy.size, stride=detector.model.stride)
        log = FrameLog()
        report = MediaReport(source, video.properties.width, video.properties.height, log)
        with (
            atomic_path(output, before_commit=completion(on_complete, report)) as temporary,
            VideoSink(temporary, video, options) as sink,
            _Job(video, sink, CanvasMaker(video.properties, letterbox)) as job,
        ):
            finder = _Finder(
                detector,
                letterbox,
                min_score=threshold if cover is None else cover.min_score(threshold),
                every=1 if cover is None else cover.detect_every,
                deadline_s=deadline_s,
            )
            checked = finder.check(job.frames(), in_flight=in_flight)
            for frame, detections in _covered(checked, cover, threshold, video.properties):
                if len(detections):
                    masker.apply(VideoSurface(frame.image), detections)
                job.write(frame)
                log.append(frame.pts_s, detections)
                if on_progress is not None:
                    on_progress(Progress(len(log), video.frame_count))
        return report


def _covered(
    checked: Iterable[CheckedFrame],
    options: CoverOptions | None,
    threshold: float,
    properties: VideoProperties,
) -> Iterator[tuple[SourceFrame, Detections]]:
    """Decide what is masked in each frame."""
    if options is None:
        # Without a cover the detector was asked about every frame.
        return ((frame, found) for frame, found in checked if found is not None)
    size = frame_bytes(properties.width, properties.height, properties.pixel_format)
    return tracking.cover(
        checked,
        options=options.within(size),
        threshold=threshold,
        time_s=lambda frame: float(frame.pts_s),
        thumbnail=lambda frame: thumbnail(frame.image),
    )


class _Job:
    """The reader and the writer of one video, each in its thread; a context manager."""

    def __init__(self, video: VideoSource, sink: VideoSink, make_canvas: CanvasMaker) -> None:
        self._video = video
        self._sink = sink
        self._make_canvas = make_canvas
        self._unchecked: Lane[_Unchecked] = Lane(_QUEUED_FRAMES)
        self._finished: Lane[SourceFrame | av.Packet[Any]] = Lane(_QUEUED_FRAMES)
        lanes = (self._unchecked, self._finished)
        self._reader = Worker(self._read, *lanes, name="faceblur-read")
        self._writer = Worker(self._write, *lanes, name="faceblur-write")

    def frames(self) -> Iterator[_Unchecked]:
        """The video's frames, in order."""
        return iter(self._unchecked)

    def write(self, frame: SourceFrame) -> None:
        """Hand over the next frame, masked."""
        self._finished.put(frame)

    def __enter__(self) -> _Job:
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
                self._unchecked.put(_Unchecked(item, self._make_canvas(item.image)))
            else:
                self._finished.put(item, weight=_PACKET_WEIGHT)
        self._unchecked.close()

    def _write(self) -> None:
        for item in self._finished:
            if isinstance(item, SourceFrame):
                self._sink.write(item)
            else:
                self._sink.copy(item)


class _Finder:
    """Asks a detector about frames, several at a time."""

    def __init__(
        self,
        detector: Detector,
        letterbox: Letterbox,
        *,
        min_score: float,
        every: int,
        deadline_s: float,
    ) -> None:
        self._detector = detector
        self._letterbox = letterbox
        self._min_score = min_score
        self._every = every
        self._deadline_s = deadline_s

    def check(self, frames: Iterable[_Unchecked], *, in_flight: int) -> Iterator[CheckedFrame]:
        """Find the faces of each frame; frames come out in the order they went in.

        Raises:
            ServerError: A frame could not be checked. Nothing comes out after it.
        """
        waiting: deque[tuple[SourceFrame, Future[Detections] | None]] = deque()
        try:
            for item in frames:
                answer = None
                if item.frame.index % self._every == 0:
                    answer = self._detector.submit(item.canvas, min_score=self._min_score)
                waiting.append((item.frame, answer))
                if len(waiting) >= in_flight:
                    yield self._checked(*waiting.popleft())
            while waiting:
                yield self._checked(*waiting.popleft())
        finally:
            for _, answer in waiting:
                if answer is not None:
                    answer.cancel()

    def _checked(self, frame: SourceFrame, answer: Future[Detections] | None) -> CheckedFrame:
        if answer is None:
            return CheckedFrame(frame, None)
        try:
            found = answer.result(timeout=self._deadline_s)
        except CancelledError as error:
            raise ServerError("the detector was closed before the last frame") from error
        except FutureTimeoutError as error:
            raise DeadlineError(
                f"no answer within {self._deadline_s:g} s for the frame at "
                f"{float(frame.pts_s):.3f} s"
            ) from error
        return CheckedFrame(frame, self._letterbox.to_source(found))


class _StoppedError(Exception):
    """Another part of the job has failed, and says why."""
