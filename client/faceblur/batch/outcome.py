"""What is masked in a list of files and how, and what happened to each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from faceblur.batch.finished import CachedResult
from faceblur.batch.image import ImageOptions
from faceblur.batch.jobs import AnyJob
from faceblur.detections import MediaDetections
from faceblur.errors import FaceblurError
from faceblur.masks.policy import Policy
from faceblur.proof.audit.log import AuditLog
from faceblur.schema.conversion import to_json
from faceblur.video.kinds import Kind
from faceblur.video.options import VideoOptions


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What is masked in a list of files, and how.

    Attributes:
        workers: Files that are masked at the same time, at most.
        again: Mask files too whose results are finished.
        audit: Where the manifest of each result goes; None for nowhere.
        names_tracks: Whether reports say which track of a video a face is of; see `DetectedFaces`.
        writer: Whose notes of finished results these are, where several machines note theirs in
            one folder at once; empty for the only one.
    """

    policy: Policy = field(default_factory=Policy)
    image: ImageOptions = field(default_factory=ImageOptions)
    video: VideoOptions = field(default_factory=VideoOptions)
    workers: int = 1
    again: bool = False
    audit: AuditLog | None = None
    names_tracks: bool = True
    writer: str = ""

    def settings(self) -> dict[Kind, dict[str, Any]]:
        """All that decides what is masked and how it is written, in values that JSON has."""
        policy, writing = to_json(self.policy), to_json(self.video)
        # Whatever decodes, the frames are the same.
        del writing["hardware_decoding"]
        return {
            "image": {"policy": policy, "writing": dataclasses.asdict(self.image)},
            "video": {"policy": policy, "writing": writing},
        }


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened to one file.

    Attributes:
        elapsed_s: Seconds it took.
        report: What was found in it; None when it was not masked in this run.
        finished: The note of its result, when that was finished before this run.
        error: Why it failed; None when it did not.
    """

    job: AnyJob
    elapsed_s: float
    report: MediaDetections | None = None
    finished: CachedResult | None = None
    error: FaceblurError | None = None

    @property
    def faces(self) -> int:
        """Masked faces in all frames."""
        if self.report is not None:
            return sum(len(frame.detections) for frame in self.report.frames)
        return self.finished.faces if self.finished is not None else 0

    @property
    def frames(self) -> int:
        """Checked frames."""
        if self.report is not None:
            return len(self.report.frames)
        return self.finished.frames if self.finished is not None else 0
