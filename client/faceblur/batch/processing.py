"""Mask one file: with a detector, or with faces that were listed before."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.image import ImageOptions, blur_image, replay_image
from faceblur.batch.jobs import Job, OnComplete
from faceblur.batch.records import DetectorInfo
from faceblur.batch.shared_detector import SharedDetector, check_going
from faceblur.batch.video import Progress, VideoOptions, blur_video, replay_video
from faceblur.detection.detector import ModelInfo
from faceblur.detection.session import DetectionSession
from faceblur.detections import MediaDetections
from faceblur.masks.policy import Policy
from faceblur.video.kinds import Kind

OnProgress = Callable[[Job, Progress], None]


@dataclass(frozen=True, kw_only=True)
class MaskingOptions:
    """What is masked in a file, and how the result is written.

    Attributes:
        policy: What is masked and how.
        image: How pictures are written.
        video: How videos are written.
        deadline_s: Seconds that one frame may take.
    """

    policy: Policy = field(default_factory=Policy)
    image: ImageOptions = field(default_factory=ImageOptions)
    video: VideoOptions = field(default_factory=VideoOptions)
    deadline_s: float = 10.0

    def settings(self) -> dict[Kind, dict[str, Any]]:
        """All that decides what is masked and how it is written, in values that JSON has.

        Raises:
            InputError: The overlay picture cannot be read.
        """
        policy = self.policy.to_json()
        return {
            "image": {"policy": policy, "writing": dataclasses.asdict(self.image)},
            "video": {"policy": policy, "writing": dataclasses.asdict(self.video)},
        }


class Masking(Protocol):
    """A way to mask files; safe to call from several threads.

    Attributes:
        finder: What finds the faces.
    """

    finder: DetectorInfo

    def settings(self) -> dict[Kind, dict[str, Any]]:
        """All that decides what a result holds, beside the source and the finder's model."""

    def mask(
        self, job: Job, *, on_progress: OnProgress | None, on_complete: OnComplete | None
    ) -> MediaDetections:
        """Mask a file.

        Raises:
            FaceblurError: It could not be; its result does not appear.
        """

    def paused(self) -> AbstractContextManager[None]:
        """Let files that are under way wait while the block runs."""

    def recovered(self) -> bool:
        """After a `ServerError`: whether files can be masked again."""


class Detecting:
    """Masks what a detector finds.

    Args:
        session: The detector.
        options: What is masked, and how.
        stop: When it is set, every file under way fails.
    """

    def __init__(
        self, session: DetectionSession, options: MaskingOptions, stop: threading.Event
    ) -> None:
        self.finder = DetectorInfo(model=session.model, kind=session.kind, tools=session.tools)
        self._session = session
        self._options = options
        self._stop = stop
        self._detector = SharedDetector(session.detector, in_flight=session.in_flight, stop=stop)

    def settings(self) -> dict[Kind, dict[str, Any]]:
        """See `Masking`."""
        return self._options.settings()

    def mask(
        self, job: Job, *, on_progress: OnProgress | None, on_complete: OnComplete | None
    ) -> MediaDetections:
        """See `Masking`."""
        options = self._options
        if job.kind == "image":
            return blur_image(
                job.source,
                job.output,
                detector=self._detector,
                policy=options.policy,
                options=options.image,
                deadline_s=options.deadline_s,
                on_complete=on_complete,
            )
        return blur_video(
            job.source,
            job.output,
            detector=self._detector,
            policy=options.policy,
            deadline_s=options.deadline_s,
            on_progress=_telling(job, on_progress, self._stop),
            options=options.video,
            on_complete=on_complete,
        )

    def paused(self) -> AbstractContextManager[None]:
        """See `Masking`."""
        return self._detector.paused()

    def recovered(self) -> bool:
        """See `Masking`."""
        return self._session.recovered(stop=self._stop)


class Replaying:
    """Masks the faces that a JSON file lists; nothing is detected.

    Args:
        replay: The list.
        options: What is masked, and how.
        stop: When it is set, every video under way fails.
    """

    def __init__(
        self, replay: AnnotationFile, options: MaskingOptions, stop: threading.Event
    ) -> None:
        model = replay.model or ModelInfo("unknown", "")
        self.finder = DetectorInfo(model=model, kind="boxes", tools={})
        self._replay = replay
        self._options = options
        self._stop = stop

    def settings(self) -> dict[Kind, dict[str, Any]]:
        """See `Masking`; the list counts as a setting."""
        boxes = {"sha256": self._replay.sha256}
        return {
            kind: {**values, "boxes": boxes} for kind, values in self._options.settings().items()
        }

    def mask(
        self, job: Job, *, on_progress: OnProgress | None, on_complete: OnComplete | None
    ) -> MediaDetections:
        """See `Masking`."""
        recorded = self._replay.media(job.source)
        if job.kind == "image":
            return replay_image(
                job.source,
                job.output,
                recorded=recorded,
                policy=self._options.policy,
                options=self._options.image,
                on_complete=on_complete,
            )
        return replay_video(
            job.source,
            job.output,
            recorded=recorded,
            policy=self._options.policy,
            on_progress=_telling(job, on_progress, self._stop),
            options=self._options.video,
            on_complete=on_complete,
        )

    def paused(self) -> AbstractContextManager[None]:
        """See `Masking`."""
        return nullcontext()

    def recovered(self) -> bool:
        """See `Masking`."""
        return True


def _telling(
    job: Job, on_progress: OnProgress | None, stop: threading.Event
) -> Callable[[Progress], None]:
    def tell(progress: Progress) -> None:
        check_going(stop)
        if on_progress is not None:
            on_progress(job, progress)

    return tell
