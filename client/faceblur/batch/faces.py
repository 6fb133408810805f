"""Who gives the faces of a file: a detector that is asked, or a list that was made before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np

from faceblur import tracking
from faceblur.batch.annotations import AnnotationFile, MediaAnnotations
from faceblur.batch.following import Corrected, correct
from faceblur.batch.page_corrections import correct_pages
from faceblur.batch.video_detection import (
    IN_FLIGHT,
    DetectedFrame,
    DetectionStage,
    frame_bytes,
    luma_of,
    thumbnail,
)
from faceblur.batch.video_threads import DecodedFrame, ModelInputs
from faceblur.detection.detect import detect
from faceblur.detection.detector import Detector
from faceblur.detection.parts import PartPlan, Rotation
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.detections import Detections, FrameDetectionsLog, TrackSummary
from faceblur.errors import InputError
from faceblur.image.io import ImageFile, Page
from faceblur.masks.policy import Policy
from faceblur.tracking import naming
from faceblur.tracking.face_table import BoolArray
from faceblur.tracking.keeping import unmasked
from faceblur.tracking.likeness import LikenessCheck
from faceblur.tracking.options import MAX_DETECTION_GAP_S, too_far_apart
from faceblur.video.frames import SourceFrame, VideoProperties

logger = logging.getLogger(__name__)


_NOBODY: Final = Detections.empty()


class PageFaces(NamedTuple):
    """A page of an image and its faces, in its pixels.

    Attributes:
        faces: Those that are masked, unless the policy leaves them alone.
        unmasked: Those that somebody has removed.
    """

    page: Page
    faces: Detections
    unmasked: Detections = _NOBODY


class FrameFaces(NamedTuple):
    """A frame and its faces, in its pixels.

    Attributes:
        faces: Those that are masked, unless the policy leaves them alone.
        unmasked: Those that are left unmasked because of their track.
    """

    frame: SourceFrame
    faces: Detections
    unmasked: Detections = _NOBODY


@dataclass(frozen=True, eq=False)
class VideoFaces:
    """How the faces of one video are found.

    Attributes:
        make_inputs: Makes the detector's inputs of a frame, called in order; None if none is asked.
        find: Gives the frames back in order, each with its faces.
        name_tracks: Gives the faces that were masked their tracks, once all are known, and sums
            these up.
        notes: What somebody should look at, for people.
        kept: Tracks that may be left unmasked.
        removed: Tracks of what is no face, likewise.
    """

    make_inputs: Callable[[SourceFrame], ModelInputs | None] | None
    find: Callable[[Iterable[DecodedFrame]], Iterator[FrameFaces]]
    name_tracks: Callable[[FrameDetectionsLog], list[TrackSummary]]
    notes: Sequence[str] = ()
    kept: frozenset[int] = frozenset()
    removed: frozenset[int] = frozenset()


class FindFaces(Protocol):
    """Gives the faces of files; safe to call from several threads."""

    def in_image(self, image: ImageFile) -> Iterator[PageFaces]:
        """Every page of an image file with its faces.

        Raises:
            InputError: The faces are not of this file, or a page cannot be read.
            ServerError: A page could not be checked.
        """

    def in_video(self, source: Path, properties: VideoProperties) -> VideoFaces:
        """Plan how the faces of a video are found.

        Raises:
            InputError: The faces are not of this file.
        """


class DetectedFaces:
    """The faces that a detector finds.

    Args:
        policy: What counts as a face, and how far faces reach beyond the frames they were found in.
        in_flight: Frames of one video that the detector is given at once.
        names_tracks: Whether the faces of a video are wanted by tracks, which are compared with
            what they looked like before.
    """

    def __init__(
        self,
        detector: Detector,
        policy: Policy,
        *,
        in_flight: int = IN_FLIGHT,
        names_tracks: bool = True,
    ) -> None:
        self._detector = detector
        self._policy = policy
        self._in_flight = in_flight
        self._names_tracks = names_tracks

    def in_image(self, image: ImageFile) -> Iterator[PageFaces]:
        """Detect the faces of every page."""
        for page in image.pages:
            yield PageFaces(page, detect(self._detector, page.pixels, self._policy.detection))

    def in_video(self, source: Path, properties: VideoProperties) -> VideoFaces:
        """Detect the faces of every frame, or of some, and track them between."""
        options, cover = self._policy.detection, self._policy.cover
        every = 1 if cover is None else cover.detect_every
        gap_s = every / properties.rate if properties.rate and every > 1 else 0
        if gap_s > MAX_DETECTION_GAP_S:
            # Whoever walks past may show between two detections.
            logger.warning("%s: %s", source, too_far_apart(float(gap_s)))
        letterbox = plan_model_input(
            properties, size=options.size, stride=self._detector.model.stride
        )
        plan = PartPlan.of(letterbox, tiles=options.tiles)
        stage = DetectionStage(
            self._detector,
            plan,
            min_score=options.threshold if cover is None else cover.min_score(options.threshold),
            deadline_s=options.deadline_s,
        )

        likeness = LikenessCheck()

        def find(frames: Iterable[DecodedFrame]) -> Iterator[FrameFaces]:
            checked = stage.check(frames, in_flight=self._in_flight)
            for frame, faces in self._fill_gaps(checked, properties):
                if self._names_tracks:
                    pixels, white = luma_of(frame.image)
                    faces = likeness.follow(faces, pixels, float(frame.pts_s), white=white)
                yield FrameFaces(frame, faces)

        def name_tracks(log: FrameDetectionsLog) -> list[TrackSummary]:
            return naming.name_tracks(log, likeness.doubts) if self._names_tracks else []

        make_input = ModelInputMaker(properties, letterbox, plan.parts)
        rotation = Rotation(len(plan.parts))

        def make_inputs(frame: SourceFrame) -> ModelInputs | None:
            if frame.index % every:
                return None
            # Without a cover nothing carries from frame to frame what a part has shown.
            turns = rotation.take(float(frame.pts_s)) if cover else range(len(plan.parts))
            return ModelInputs(make_input.whole_and_parts(frame.image, turns), turns)

        return VideoFaces(make_inputs, find, name_tracks)

    def _fill_gaps(
        self, checked: Iterable[DetectedFrame], properties: VideoProperties
    ) -> Iterator[tuple[SourceFrame, Detections]]:
        policy = self._policy
        if policy.cover is None:
            # Without a cover the detector was asked about every frame.
            return ((frame, found) for frame, found in checked if found is not None)
        size = frame_bytes(properties.width, properties.height, properties.pixel_format)
        return tracking.fill_gaps(
            checked,
            options=policy.cover.within(size),
            threshold=policy.detection.threshold,
            time_s=lambda frame: float(frame.pts_s),
            thumbnail=lambda frame: thumbnail(frame.image),
            starts_scene=lambda frame: frame.starts_scene,
        )


class RecordedFaces:
    """The faces that a JSON file lists, which are final: nothing is detected or tracked.

    Args:
        annotations: The file.
        on_frame: Called for each frame that is read before a video is masked, to follow what
            somebody drew; what it raises breaks that off.
    """

    def __init__(
        self, annotations: AnnotationFile, *, on_frame: Callable[[], None] = lambda: None
    ) -> None:
        self._annotations = annotations
        self._on_frame = on_frame

    def in_image(self, image: ImageFile) -> Iterator[PageFaces]:
        """Give the recorded faces of every page."""
        recorded = self._annotations.media(image.path)
        if self._annotations.choice is not None:
            raise InputError(
                f"{image.path} is an image, and --{self._annotations.choice.effect} is for tracks "
                "of a video; delete whom to show from the list of faces instead"
            )
        recorded.check_size(image.width, image.height)
        recorded.check_end(image.page_count)
        corrected = correct_pages(image, recorded, on_frame=self._on_frame)

        def find() -> Iterator[PageFaces]:
            for index, page in enumerate(image.pages):
                faces = recorded.faces(index, page.pts_s)
                size = (page.pixels.shape[1], page.pixels.shape[0])
                yield PageFaces(page, *corrected.apply(index, faces, size))

        return find()

    def in_video(self, source: Path, properties: VideoProperties) -> VideoFaces:
        """Give the recorded faces of every frame."""
        recorded = self._annotations.media(source)
        recorded.check_size(properties.width, properties.height)
        corrected = correct(source, recorded, on_frame=self._on_frame)
        kept, left = self._kept(recorded, corrected)

        def find(frames: Iterable[DecodedFrame]) -> Iterator[FrameFaces]:
            count = 0
            for item in frames:
                frame = item.frame
                faces = recorded.faces(frame.index, frame.pts_s)
                faces, unmasked = corrected.apply(frame.index, frame.pts_s, faces)
                if left is not None:
                    # Every frame is listed, in order: so its index is its place.
                    shown = left[frame.index]
                    unmasked = unmasked.joined(faces.select(shown))
                    faces = faces.select(~shown)
                yield FrameFaces(frame, faces, unmasked)
                count += 1
            recorded.check_end(count)

        def name_tracks(log: FrameDetectionsLog) -> list[TrackSummary]:
            return naming.summarise(log, recorded.certainty)

        return VideoFaces(
            None,
            find,
            name_tracks,
            notes=corrected.notes,
            kept=kept,
            removed=frozenset(corrected.removed),
        )

    def _kept(
        self, recorded: MediaAnnotations, corrected: Corrected
    ) -> tuple[frozenset[int], list[BoolArray] | None]:
        """The tracks that may be left unmasked, and which faces of each frame are."""
        choice = self._annotations.choice
        if choice is None:
            return frozenset(), None
        if self._annotations.leaves_faces_out():
            raise InputError(
                f"{recorded.where} lists only some of the faces, so nobody can tell who met whom: "
                "make it with faceblur people, or without --never, --spare and --min-face"
            )
        log = FrameDetectionsLog()
        for frame in recorded.log:
            pts_s = Fraction(frame.pts_s)
            log.append(pts_s, corrected.apply(frame.index, pts_s, frame.detections)[0])
        *_, tracks = recorded.log.columns()
        kept = choice.kept(frozenset(np.unique(tracks[tracks > 0]).tolist()), recorded.where)
        steady = {track: spans.steady for track, spans in recorded.certainty.items()}
        return kept, unmasked(log, kept=kept, steady=steady)
