"""Choose a person as somebody would who looks at the page, render, and look at every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.coverage.passers import Person
from benchmarks.coverage.score import MARK, MIN_MASKED, is_marked
from benchmarks.coverage.videos import read_clip, write_clip
from benchmarks.people.scenes import Scene, Shown, frames
from faceblur.batch.annotation_format import write_findings
from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.faces import DetectedFaces, RecordedFaces
from faceblur.batch.track_choice import TrackChoice
from faceblur.batch.video import mask_video
from faceblur.detection.detector import Detector
from faceblur.detections import FrameDetectionsLog, MediaDetections, TrackSummary
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.tracking.keeping import unmasked
from faceblur.video.options import VideoOptions

POLICY: Final = Policy(mask=MaskStyle(mode="solid", color=MARK))

_SEEN: Final = 0.1
"""A face is seen when no more of it is masked."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came out of one clip.

    Attributes:
        frames: In which the chosen person shows.
        seen: Those in which that one is left unmasked.
        others: Frames in which the other one shows.
        leaked: Those in which the other one is not masked, and is where nobody was chosen.
        missed: Those in which the other one is not masked where nobody was chosen.
        tracks: Of the chosen person.
    """

    frames: int = 0
    seen: int = 0
    others: int = 0
    leaked: int = 0
    missed: int = 0
    tracks: int = 0

    def __add__(self, other: Result) -> Result:
        return Result(**{name: value + getattr(other, name) for name, value in vars(self).items()})


def attempt(
    scene: Scene,
    pair: tuple[Person, Person],
    detector: Detector,
    folder: Path,
    *,
    rate: float,
    seed: int,
) -> Result:
    """Make a clip, list its faces, keep the first person visible, and compare with the truth."""
    clip, masked, boxes = folder / "clip.mp4", folder / "masked.mkv", folder / "boxes.json"
    drawn = list(frames(scene, pair, rate=rate, seed=seed))
    write_clip(clip, [image for image, _ in drawn], rate=Fraction(rate))
    truth = [shown for _, shown in drawn]
    lossless = VideoOptions(encoder="ffv1")
    report = mask_video(
        clip, masked, find_faces=DetectedFaces(detector, POLICY), policy=POLICY, options=lossless
    )
    plain = _look(masked, truth)
    write_findings(boxes, detector.model, POLICY, [report])
    chosen = frozenset(t.id for t in report.tracks if _looks_like_first(report, t, truth))
    looks = plain
    if chosen:
        listed = replace(AnnotationFile.read(boxes), choice=TrackChoice("keep-visible", chosen))
        mask_video(clip, masked, find_faces=RecordedFaces(listed), policy=POLICY, options=lossless)
        looks = _look(masked, truth)
    total = Result(tracks=len(chosen))
    for before, after, (first, second) in zip(plain, looks, truth, strict=True):
        missed = before[1] < MIN_MASKED
        total += Result(
            frames=int(first.counts),
            seen=int(bool(chosen) and after[0] <= _SEEN),
            others=int(second.counts),
            leaked=int(after[1] < MIN_MASKED and not missed),
            missed=int(missed),
        )
    return total


def _looks_like_first(
    report: MediaDetections, track: TrackSummary, truth: list[tuple[Shown, Shown]]
) -> bool:
    """Whether any view of a track that may be on the page is of the first person.

    The page shows one of them; here the least lucky one counts.
    """
    steady = {track.id: track.steady}
    assert isinstance(report.frames, FrameDetectionsLog)
    for frame, shown, people in zip(
        report.frames,
        unmasked(report.frames, kept={track.id}, steady=steady),
        truth,
        strict=True,
    ):
        for box in frame.detections.boxes[shown]:
            # Whoever is in front is seen, however large the one behind would be.
            left, top, right, bottom = np.maximum(box, 0).round().astype(int).tolist()
            first, second = (
                int(person.face[top:bottom, left:right].sum()) * person.counts for person in people
            )
            if first > second:
                return True
    return False


def _look(path: Path, truth: list[tuple[Shown, Shown]]) -> list[tuple[float, float]]:
    """How much is masked of what shows of both in each frame; all, of somebody who does not."""
    found = []
    for image, (first, second) in zip(read_clip(path), truth, strict=True):
        marked = is_marked(image)
        of_first, of_second = (
            float(marked[p.face].mean()) if p.counts else 1.0 for p in (first, second)
        )
        found.append((of_first, of_second))
    return found
