"""Mask one file of either kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from faceblur.batch.faces import FindFaces
from faceblur.batch.image import ImageOptions, mask_image
from faceblur.batch.jobs import Job, OnComplete
from faceblur.batch.video import Progress, mask_video
from faceblur.detections import MediaDetections
from faceblur.masks.policy import Policy
from faceblur.schema import to_json
from faceblur.video.kinds import Kind
from faceblur.video.options import VideoOptions


@dataclass(frozen=True, kw_only=True)
class MaskingOptions:
    """What is masked in a file, and how the result is written.

    Attributes:
        policy: What is masked and how.
        image: How images are written.
        video: How videos are written.
    """

    policy: Policy = field(default_factory=Policy)
    image: ImageOptions = field(default_factory=ImageOptions)
    video: VideoOptions = field(default_factory=VideoOptions)

    def settings(self) -> dict[Kind, dict[str, Any]]:
        """All that decides what is masked and how it is written, in values that JSON has."""
        policy = to_json(self.policy)
        return {
            "image": {"policy": policy, "writing": dataclasses.asdict(self.image)},
            "video": {"policy": policy, "writing": dataclasses.asdict(self.video)},
        }


def process_file(
    job: Job,
    find_faces: FindFaces,
    options: MaskingOptions,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_complete: OnComplete | None = None,
) -> MediaDetections:
    """Mask a file.

    Args:
        job: The file.
        find_faces: What gives its faces.
        options: What is masked, and how.
        on_progress: Called after each frame of a video.
        on_complete: Called when the result is complete under its temporary name.

    Raises:
        FaceblurError: It could not be; its result does not appear.
    """
    if job.kind == "image":
        return mask_image(
            job.source,
            job.output,
            find_faces=find_faces,
            policy=options.policy,
            options=options.image,
            on_complete=on_complete,
        )
    return mask_video(
        job.source,
        job.output,
        find_faces=find_faces,
        policy=options.policy,
        options=options.video,
        on_progress=on_progress,
        on_complete=on_complete,
    )
