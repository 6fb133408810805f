"""Who is in a video: its tracks, and of each the view by which somebody may know who it is.

The views are unmasked faces. They are held in memory alone, until they are on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from faceblur.batch.faces import FindFaces
from faceblur.batch.video import Progress
from faceblur.batch.video_threads import DecodedFrame, ModelInputs
from faceblur.detections import Float64Array, FrameDetectionsLog, MediaDetections, TrackSummary
from faceblur.image.jpeg import jpeg
from faceblur.image.pixels import BgrImage
from faceblur.masks.policy import Policy
from faceblur.masks.selection import Selection
from faceblur.tracking.keeping import alone
from faceblur.video.frames import SourceFrame
from faceblur.video.source import VideoSource

VIEW_PX: Final = 220
"""Longest side of a view."""

_TRIED: Final = 6
"""Views of a track that are compared."""
_QUALITY: Final = 85
_NEARLY: Final = 0.85
"""Of the largest height: a view so large is as good."""
_AROUND: Final = 0.45
"""What a view shows around the box on each side, in its sizes."""


@dataclass(frozen=True, eq=False)
class Person:
    """One track, as a page shows it.

    Attributes:
        first_s: When it begins, seconds as players count them; so are `last_s` and `view_s`.
        last_s: When it ends.
        unmasked_s: How long it could be left unmasked, if nobody else were, seconds.
        view: A JPEG; None where it is certain nowhere, so that it is always masked.
        view_s: Time of the view.
    """

    track: TrackSummary
    first_s: float
    last_s: float
    unmasked_s: float = 0.0
    view: bytes | None = None
    view_s: float = 0.0


def find_people(
    source: Path,
    find_faces: FindFaces,
    policy: Policy,
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> MediaDetections:
    """Find the faces of a video and name their tracks, without masking any.

    Raises:
        InputError: The video cannot be read to its end, or the listed faces are not of it.
        ServerError: A frame could not be checked for faces.
    """
    with VideoSource(source) as video:
        width, height = video.properties.width, video.properties.height
        faces_of = find_faces.in_video(source, video.properties)
        selection = Selection(policy, width, height)
        log = FrameDetectionsLog()
        for frame, faces, _ in faces_of.find(_decoded(video, faces_of.make_inputs)):
            log.append(frame.pts_s, selection.choose(faces).faces)
            if on_progress is not None:
                on_progress(Progress(len(log), video.frame_count))
        tracks = faces_of.name_tracks(log)
        return MediaDetections(source, width, height, log, tracks=tracks, start_s=video.start_s)


def look_at(
    report: MediaDetections,
    log: FrameDetectionsLog,
    *,
    on_frame: Callable[[], None] | None = None,
) -> list[Person]:
    """Read a video once more, and take the best view of each track.

    Args:
        report: What was found in it.
        log: Its frames.
        on_frame: Called for each; what it raises breaks this off.

    Raises:
        InputError: The video cannot be read to its end.
    """
    steady = {track.id: track.steady for track in report.tracks}
    heights: dict[int, list[tuple[int, float]]] = {}
    boxes: dict[tuple[int, int], Float64Array] = {}
    for frame, clear in zip(log, alone(log, steady=steady), strict=True):
        for i in np.flatnonzero(clear).tolist():
            track, box = int(frame.detections.tracks[i]), frame.detections.boxes[i]
            heights.setdefault(track, []).append((frame.index, float(box[3] - box[1])))
            boxes[frame.index, track] = box.astype(np.float64)
    wanted: dict[int, list[int]] = {}
    for track, seen in heights.items():
        for index in _spread(seen):
            wanted.setdefault(index, []).append(track)
    best: dict[int, tuple[float, BgrImage, float]] = {}
    with VideoSource(report.path) as video:
        aspect = float(video.properties.sample_aspect_ratio or 1)
        for item in video.read():
            if on_frame is not None:
                on_frame()
            if not isinstance(item, SourceFrame) or item.index not in wanted:
                continue
            image = np.asarray(item.image.to_ndarray(format="bgr24"), np.uint8)
            for track in wanted[item.index]:
                box = boxes[item.index, track]
                sharp = _sharpness(_part(image, box, around=0.0))
                if track not in best or sharp > best[track][0]:
                    best[track] = sharp, _fitted(_part(image, box), aspect), float(item.pts_s)
    rate_s = _interval_s(log)
    start_s = float(report.start_s)
    people = []
    for summary in report.tracks:
        person = Person(summary, summary.first_s - start_s, summary.last_s - start_s)
        if summary.id in best:
            _, view, at_s = best[summary.id]
            unmasked_s = len(heights[summary.id]) * rate_s
            person = replace(
                person,
                unmasked_s=unmasked_s,
                view=jpeg(view, quality=_QUALITY),
                view_s=at_s - start_s,
            )
        people.append(person)
    return people


def _decoded(
    video: VideoSource, make_inputs: Callable[[SourceFrame], ModelInputs | None] | None
) -> Iterator[DecodedFrame]:
    for item in video.read():
        if isinstance(item, SourceFrame):
            yield DecodedFrame(item, None if make_inputs is None else make_inputs(item))


def _spread(seen: list[tuple[int, float]]) -> list[int]:
    """Some frames in which a track is about as large as ever, far from each other."""
    largest = max(height for _, height in seen)
    large = [index for index, height in seen if height >= _NEARLY * largest]
    places = np.unique(np.linspace(0, len(large) - 1, _TRIED).round().astype(int))
    return [large[place] for place in places.tolist()]


def _part(image: BgrImage, box: Float64Array, *, around: float = _AROUND) -> BgrImage:
    margin = (box[2:] - box[:2]) * around
    low = np.clip(np.floor(box[:2] - margin), 0, None).astype(int)
    high = np.ceil(box[2:] + margin).astype(int)
    return image[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)]


def _sharpness(part: BgrImage) -> float:
    """How much detail there is, at one size for all."""
    small = cv2.resize(part, (64, 64), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def _fitted(part: BgrImage, aspect: float) -> BgrImage:
    """A part of a frame whose pixels have an aspect, width over height, in square ones."""
    width, height = part.shape[1] * aspect, part.shape[0]
    scale = VIEW_PX / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, size, interpolation=how), np.uint8)


def _interval_s(log: FrameDetectionsLog) -> float:
    if len(log) < 2:
        return 0.0
    return float(log[-1].pts_s - log[0].pts_s) / (len(log) - 1)
