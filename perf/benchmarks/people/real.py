"""How much of real clips could be kept visible. They have no truth: this says nothing of leaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from faceblur.batch.faces import DetectedFaces
from faceblur.batch.people import find_people
from faceblur.detection.detector import Detector
from faceblur.detections import FrameDetectionsLog
from faceblur.masks.policy import Policy
from faceblur.tracking.keeping import alone, unmasked
from faceblur.tracking.naming import SURE_SCORE


@dataclass(frozen=True)
class RealFigures:
    """Of one clip.

    Attributes:
        frames: All of it.
        found_well: Frames in which a face was found so well that it may be kept.
        keepable: Of these, the share in which a face is left unmasked if all tracks are kept.
        alone: The share in which one is that is certain and away from all others.
        cards: Tracks that the page shows.
        tracks: All of them.
    """

    SHOWN: ClassVar = ("frames", "found_well", "keepable", "alone", "cards", "tracks")

    frames: int
    found_well: int
    keepable: float
    alone: float
    cards: int
    tracks: int


def keepable(clip: Path, detector: Detector) -> RealFigures:
    """Find the people of a clip, and see where they could be kept."""
    policy = Policy()
    report = find_people(clip, DetectedFaces(detector, policy), policy)
    log = report.frames
    assert isinstance(log, FrameDetectionsLog)
    steady = {track.id: track.steady for track in report.tracks}
    well = sum(bool((frame.detections.scores >= SURE_SCORE).any()) for frame in log)
    kept, single = (
        sum(bool(each.any()) for each in shown)
        for shown in (unmasked(log, kept=set(steady), steady=steady), alone(log, steady=steady))
    )
    return RealFigures(
        frames=len(log),
        found_well=well,
        keepable=round(kept / max(1, well), 3),
        alone=round(single / max(1, well), 3),
        cards=sum(bool(track.certain) for track in report.tracks),
        tracks=len(report.tracks),
    )
