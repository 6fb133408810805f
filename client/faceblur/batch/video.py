"""One video file, from the source to the masked result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from faceblur.batch.faces import FindFaces, FrameFaces
from faceblur.batch.fixed_view import FixedView, Timed
from faceblur.batch.jobs import OnComplete, completion
from faceblur.batch.video_threads import VideoJob
from faceblur.detections import FrameDetectionsLog, MediaDetections
from faceblur.files import atomic_path
from faceblur.masks.masker import Masker
from faceblur.masks.policy import Policy
from faceblur.masks.regions import Region
from faceblur.masks.selection import Selection
from faceblur.masks.visibility import visible
from faceblur.moving.sight import Bitmap
from faceblur.times import TimeSpan
from faceblur.video.containers import container_for
from faceblur.video.options import VideoOptions
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource
from faceblur.video.surface import VideoSurface


class Progress(NamedTuple):
    """How far a video is.

    Attributes:
        done: Frames that are masked.
        total: Frames there are, as far as the file says; None if it does not.
    """

    done: int
    total: int | None


def mask_video(
    source: Path,
    output: Path,
    *,
    find_faces: FindFaces,
    policy: Policy,
    options: VideoOptions | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_complete: OnComplete | None = None,
) -> MediaDetections:
    """Mask the faces in every frame of a video.

    Three threads work on it, FFmpeg's own beside:

        faceblur-read      decode → make the model's input ─┐
        this thread        find faces → select → mask       ├─ a few frames in each queue
        faceblur-write     encode → write                  ─┘

    The output appears when every frame was checked and masked, or not at all. Memory does not
    grow with the length of the video, but for what the report holds. `on_progress` is called after
    each frame, in this thread.

    Returns:
        What was masked, in pixels of the upright frames; faces that were filled in between the
        found ones have score 0.

    Raises:
        InputError: The source cannot be read to its end, or not be written as asked, or the
            listed faces are not of it.
        OutputError: The output cannot be written.
        ServerError: A frame could not be checked for faces.
    """
    container_for(output)
    masker = Masker(policy.mask)

    def tell() -> None:
        if on_progress is not None:
            on_progress(Progress(0, None))

    hardware = (options or VideoOptions()).hardware_decoding
    view = FixedView.learn(source, policy.moving, tell, hardware) if policy.moving.is_on else None
    with VideoSource(source, hardware=hardware) as video:
        width, height = video.properties.width, video.properties.height
        faces_of = find_faces.in_video(source, video.properties)
        selection = Selection(policy, width, height)
        log = FrameDetectionsLog()
        report = MediaDetections(
            source, width, height, log, kept=faces_of.kept, start_s=video.start_s
        )
        report.notes.extend(faces_of.notes)
        with atomic_path(output, before_commit=completion(on_complete, report)) as temporary:
            with (
                VideoSink(temporary, video, options) as sink,
                VideoJob(video, sink, faces_of.make_inputs) as job,
            ):
                found = faces_of.find(job.frames())
                timed = _with_times(found, policy, start_s=video.start_s)
                for (item, shown), moving in _with_moving(timed, view):
                    frame, faces, unmasked = item
                    choice = selection.choose(faces, shown, moving=moving)
                    drawn: Sequence[Region] = ()
                    if len(choice.faces) or choice.areas:
                        drawn = masker.apply(VideoSurface(frame.image), choice.faces, choice.areas)
                    job.write(frame)
                    log.append(frame.pts_s, choice.faces)
                    if faces_of.kept or faces_of.removed:
                        seen = visible(unmasked, drawn, width, height)
                        report.unmasked.append(frame.pts_s, unmasked.select(seen))
                        report.covered.append(frame.pts_s, unmasked.select(~seen))
                    if on_progress is not None:
                        on_progress(Progress(len(log), video.frame_count))
                report.tracks.extend(faces_of.name_tracks(log))
            report.left_out.extend(sink.left_out)
            report.devices.extend(_devices(video, sink))
        if view is not None:
            view.tell(source, len(log))
        return report


def _devices(video: VideoSource, sink: VideoSink) -> Iterator[str]:
    """What decoded and encoded, where that was not the CPU."""
    if video.device is not None:
        yield f"decoded by {video.device}"
    if sink.device is not None:
        yield f"encoded by {sink.device}"


def _with_moving(
    frames: Iterable[Timed], view: FixedView | None
) -> Iterator[tuple[Timed, Bitmap | None]]:
    """Say what moves in each frame, if that is asked for."""
    if view is None:
        return ((timed, None) for timed in frames)
    return view.follow(frames)


def _with_times(
    frames: Iterable[FrameFaces], policy: Policy, *, start_s: Fraction
) -> Iterator[Timed]:
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
