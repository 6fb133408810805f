"""One video file, from the source to the masked result (see `faceblur.batch.video_threads`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from faceblur import tracking
from faceblur.batch.annotations import MediaAnnotations
from faceblur.batch.jobs import OnComplete, completion
from faceblur.batch.video_detection import IN_FLIGHT, DetectedFrame, DetectionStage
from faceblur.batch.video_threads import DecodedFrame, VideoJob
from faceblur.detection.detector import Detector
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.detections import Detections, FloatArray, FrameDetectionsLog, MediaDetections
from faceblur.files import atomic_path
from faceblur.masks.masker import Masker
from faceblur.masks.policy import Policy
from faceblur.masks.selection import Selection
from faceblur.masks.spans import TimeSpan
from faceblur.tracking import scene_cuts as cuts
from faceblur.video.containers import container_for
from faceblur.video.frames import SourceFrame, VideoProperties
from faceblur.video.options import VideoOptions
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource
from faceblur.video.surface import VideoSurface

__all__ = ["Progress", "VideoOptions", "blur_video", "replay_video"]


class Progress(NamedTuple):
    """How far a video is.

    Attributes:
        done: Frames that are masked.
        total: Frames there are, as far as the file says; None if it does not.
    """

    done: int
    total: int | None


class FrameFaces(NamedTuple):
    """A frame and its faces, in its pixels."""

    frame: SourceFrame
    faces: Detections


@dataclass(frozen=True, eq=False)
class _Plan:
    """How the faces of one video are found."""

    make_canvas: ModelInputMaker | None
    find: Callable[[Iterable[DecodedFrame]], Iterator[FrameFaces]]


def blur_video(
    source: Path,
    output: Path,
    *,
    detector: Detector,
    policy: Policy,
    in_flight: int = IN_FLIGHT,
    deadline_s: float = 10.0,
    on_progress: Callable[[Progress], None] | None = None,
    options: VideoOptions | None = None,
    on_complete: OnComplete | None = None,
) -> MediaDetections:
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
        on_complete: See `faceblur.batch.jobs.OnComplete`.

    Returns:
        What was masked, in pixels of the upright frames; faces that were filled in between the
        found ones have score 0.

    Raises:
        InputError: The source cannot be read to its end, or not be written as asked.
        OutputError: The output cannot be written.
        ServerError: A frame could not be checked for faces.
    """

    def plan(video: VideoSource) -> _Plan:
        letterbox = plan_model_input(
            video.properties, size=policy.size, stride=detector.model.stride
        )
        cover, threshold = policy.cover, policy.threshold
        finder = DetectionStage(
            detector,
            letterbox,
            min_score=threshold if cover is None else cover.min_score(threshold),
            every=1 if cover is None else cover.detect_every,
            deadline_s=deadline_s,
        )
        return _Plan(
            ModelInputMaker(video.properties, letterbox),
            lambda frames: _covered(
                finder.check(frames, in_flight=in_flight), policy, video.properties
            ),
        )

    return _mask(source, output, plan, policy, options, on_progress, on_complete)


def replay_video(
    source: Path,
    output: Path,
    *,
    recorded: MediaAnnotations,
    policy: Policy,
    on_progress: Callable[[Progress], None] | None = None,
    options: VideoOptions | None = None,
    on_complete: OnComplete | None = None,
) -> MediaDetections:
    """Mask the faces that are listed for every frame of a video; nothing is detected.

    The faces are final: they are not tracked. Zones, time spans and the smallest face of the
    policy count.

    Args:
        source: The video.
        output: Where the result goes; the suffix decides the container.
        recorded: Where the faces are.
        policy: What is masked and how.
        on_progress: Called after each frame, in this thread.
        options: How to write.
        on_complete: See `faceblur.batch.jobs.OnComplete`.

    Raises:
        InputError: The list is not of this video, or not of every frame; the source cannot be
            read to its end, or not be written as asked.
        OutputError: The output cannot be written.
    """

    def find(frames: Iterable[DecodedFrame]) -> Iterator[FrameFaces]:
        count = 0
        for item in frames:
            frame = item.frame
            yield FrameFaces(frame, recorded.faces(frame.index, frame.pts_s))
            count += 1
        recorded.check_end(count)

    def plan(video: VideoSource) -> _Plan:
        recorded.check_size(video.properties.width, video.properties.height)
        return _Plan(None, find)

    return _mask(source, output, plan, policy, options, on_progress, on_complete)


def _mask(
    source: Path,
    output: Path,
    plan: Callable[[VideoSource], _Plan],
    policy: Policy,
    options: VideoOptions | None,
    on_progress: Callable[[Progress], None] | None,
    on_complete: OnComplete | None,
) -> MediaDetections:
    container_for(output)
    masker = Masker(policy.mask)
    with VideoSource(source) as video:
        width, height = video.properties.width, video.properties.height
        planned, selection = plan(video), Selection(policy, width, height)
        log = FrameDetectionsLog()
        report = MediaDetections(source, width, height, log)
        with (
            atomic_path(output, before_commit=completion(on_complete, report)) as temporary,
            VideoSink(temporary, video, options) as sink,
            VideoJob(video, sink, planned.make_canvas) as job,
        ):
            report.left_out.extend(sink.left_out)
            found = planned.find(job.frames())
            for (frame, faces), shown in _timed(found, policy, start_s=video.start_s):
                choice = selection.choose(faces, shown)
                if len(choice.faces) or choice.areas:
                    masker.apply(VideoSurface(frame.image), choice.faces, choice.areas)
                job.write(frame)
                log.append(frame.pts_s, choice.faces)
                if on_progress is not None:
                    on_progress(Progress(len(log), video.frame_count))
        return report


def _covered(
    checked: Iterable[DetectedFrame], policy: Policy, properties: VideoProperties
) -> Iterator[FrameFaces]:
    """Decide where faces are in each frame."""
    if policy.cover is None:
        # Without a cover the detector was asked about every frame.
        return (FrameFaces(frame, found) for frame, found in checked if found is not None)
    size = frame_bytes(properties.width, properties.height, properties.pixel_format)
    covered = tracking.fill_gaps(
        checked,
        options=policy.cover.within(size),
        threshold=policy.threshold,
        time_s=lambda frame: float(frame.pts_s),
        thumbnail=lambda frame: thumbnail(frame.image),
        starts_scene=lambda frame: frame.starts_scene,
    )
    return (FrameFaces(frame, faces) for frame, faces in covered)


def _timed(
    frames: Iterable[FrameFaces], policy: Policy, *, start_s: Fraction
) -> Iterator[tuple[FrameFaces, TimeSpan | None]]:
    """Say when each frame is shown: until the next one is, and the last as long as it says.

    Frames are held back for that only if the policy says anything of times.
    """
    if not policy.is_timed:
        yield from ((item, None) for item in frames)
        return
    last: FrameFaces | None = None
    interval_s = Fraction(1)
    for item in frames:
        if last is not None:
            yield last, TimeSpan(last.frame.pts_s - start_s, item.frame.pts_s - start_s)
            interval_s = item.frame.pts_s - last.frame.pts_s
        last = item
    if last is not None:
        begin_s = last.frame.pts_s - start_s
        duration_s = last.frame.duration * last.frame.time_base or interval_s
        yield last, TimeSpan(begin_s, begin_s + duration_s)


def thumbnail(image: av.VideoFrame) -> FloatArray:
    """A frame's thumbnail (see `cuts.thumbnail`), from its first plane: luma, grey or green.

    Args:
        image: In planes, as `VideoSurface` takes it.
    """
    bits = image.format.components[0].bits
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    plane = image.planes[0]
    rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
    return cuts.thumbnail(rows[:, : plane.width], white=float((1 << bits) - 1))


def frame_bytes(width: int, height: int, pixel_format: str) -> int:
    """Memory that a decoded frame takes, about."""
    bits = av.VideoFormat(pixel_format, width, height).padded_bits_per_pixel
    return width * height * bits // 8
