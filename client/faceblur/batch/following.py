"""Where the corrections of a video put their boxes, frame by frame, found before it is masked.

Following goes forward in time. Between two keyframes the way is known at both ends: what the
following is off at the second one is spread over the time between, and the box is larger by as much
as it may be off in the middle. After the last keyframe nothing holds it but the image.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from faceblur.batch.annotations import MediaAnnotations
from faceblur.batch.corrections import Correction, FrameTimes, Keyframe
from faceblur.batch.video_detection import luma_of
from faceblur.detections import DRAWN_SCORE, Detections, Float64Array
from faceblur.errors import InputError
from faceblur.image.pixels import Array
from faceblur.times import clock
from faceblur.tracking.follower import Follower
from faceblur.tracking.scene_cuts import CutDetector, thumbnail
from faceblur.video.frames import SourceFrame
from faceblur.video.source import VideoSource

logger = logging.getLogger(__name__)

_TICK_S: Final = 1e-6
"""Times in lists are written to so much."""

_PATIENCE_S: Final = 0.3
"""A box that is not found again within this time is lost."""

_DOUBT: Final = 0.04
"""Growth of each side of a followed box per second, as a share of its size."""

_MAX_DOUBT: Final = 0.3

_PACE: Final = 1.5
"""Growth of each side of a box that is lost, in its sizes per second."""


@dataclass(frozen=True, eq=False)
class Corrected:
    """What corrections change of a list.

    Attributes:
        boxes: What is masked beside it, by the index of the frame: (N, 4) x1 y1 x2 y2, pixels.
        removed: Tracks that are not masked, and the spans in which they are not, first and last
            time on the clock of the frames, seconds.
        notes: Spans in which a box was lost or ended, and faces that could not be removed, for
            people.
    """

    boxes: Mapping[int, Float64Array] = field(default_factory=dict)
    removed: Mapping[int, Sequence[tuple[float, float]]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def apply(
        self, index: int, pts_s: Fraction, faces: Detections
    ) -> tuple[Detections, Detections]:
        """The faces of a frame, corrected, and those that are removed.

        Those that are added have score 1 and no track.
        """
        time_s = float(pts_s)
        gone = [
            track
            for track, spans in self.removed.items()
            if any(first - _TICK_S <= time_s <= last + _TICK_S for first, last in spans)
        ]
        is_gone = np.isin(faces.tracks, gone)
        return with_drawn(faces.select(~is_gone), self.boxes.get(index)), faces.select(is_gone)


def with_drawn(faces: Detections, boxes: Float64Array | None) -> Detections:
    """Faces, and behind them boxes, (N, 4), that somebody drew."""
    if boxes is None:
        return faces
    middles = np.tile((boxes[:, :2] + boxes[:, 2:]) / 2, 5)
    scores = np.full((len(boxes), 1), DRAWN_SCORE)
    rows = np.concatenate([boxes, scores, middles], axis=1)
    return faces.joined(Detections.from_rows(rows))


def correct(
    source: Path, recorded: MediaAnnotations, *, on_frame: Callable[[], None] = lambda: None
) -> Corrected:
    """Go through a video as far as its corrections need, and place their boxes.

    `on_frame` is called for each frame that is read; what it raises breaks this off.

    Raises:
        InputError: A correction is unclear, or the video cannot be read.
    """
    if not recorded.corrections:
        return Corrected()
    with VideoSource(source) as video:
        times = recorded.times(video.start_s)
        removed = recorded.removed(times)
        parts = [
            part
            for number, each in enumerate(recorded.corrections, start=1)
            if each.keyframes
            for part in parts_of(each, times, f"correction {number}", recorded.where)
        ]
        if parts:
            frames = (item for item in video.read() if isinstance(item, SourceFrame))
            walk(_views(frames, video.start_s), parts, on_frame=on_frame)
    boxes, lost = placed(parts)
    notes = [*recorded.kept(removed), *lost]
    for note in notes:
        logger.warning("%s: %s", source, note)
    return Corrected(boxes, removed, notes)


@dataclass(frozen=True, eq=False)
class View:
    """What is seen of a frame where boxes are followed.

    Attributes:
        time_s: From the start.
        luma: (H, W) brightness, uint8 or uint16; None where nothing is followed and no cut counts,
            as on the pages of a document.
        white: Its largest value.
        starts_scene: As in `SourceFrame`.
    """

    index: int
    time_s: float
    luma: Array | None
    white: float = 255.0
    starts_scene: bool = False


def _views(frames: Iterable[SourceFrame], start_s: Fraction) -> Iterator[View]:
    for frame in frames:
        luma, white = luma_of(frame.image)
        time_s = float(frame.pts_s - start_s)
        yield View(frame.index, time_s, luma, white, frame.starts_scene)


def parts_of(correction: Correction, times: FrameTimes, name: str, where: str) -> list[Part]:
    """What a correction draws, from each of its keyframes to the next.

    Raises:
        InputError: It is unclear which frames are meant.
    """
    keyframes = correction.keyframes
    at = [times.index(each.at, f"a keyframe of {name} in {where}") for each in keyframes]
    for here, there, keyframe in zip(at, at[1:], keyframes[1:], strict=False):
        if here >= there:
            raise InputError(
                f"{name} in {where} has two keyframes in the frame at {keyframe.at}; leave one"
            )
    until = times.end(correction.until, f"{name} in {where}")
    ends = [*zip(at[1:], keyframes[1:], strict=True), None]
    return [
        Part(name, keyframe, first, end, until)
        for keyframe, first, end in zip(keyframes, at, ends, strict=True)
    ]


def walk(
    views: Iterable[View], parts: Sequence[Part], *, on_frame: Callable[[], None] = lambda: None
) -> None:
    """Go through a file as far as its parts need."""
    cuts = CutDetector()
    open_parts = sorted(parts, key=lambda part: part.first)
    for view in views:
        on_frame()
        is_cut = view.starts_scene
        if view.luma is not None:
            is_cut |= cuts.is_cut(thumbnail(view.luma, white=view.white))
        open_parts = [each for each in open_parts if not each.is_done(view.index)]
        if not open_parts:
            return
        for part in open_parts:
            if view.index >= part.first:
                part.add(view, is_cut=is_cut)


def placed(parts: Sequence[Part]) -> tuple[dict[int, Float64Array], list[str]]:
    """The boxes of each frame, (N, 4), once all was walked through; and notes for people."""
    boxes: defaultdict[int, list[Float64Array]] = defaultdict(list)
    for part in parts:
        for index, box in part.placed():
            boxes[index].append(box)
    notes = [note for part in parts for note in part.notes()]
    return {index: np.stack(each) for index, each in boxes.items()}, notes


@dataclass(eq=False)
class Part:
    """One box from its keyframe to the next one, to its end, or to a cut."""

    name: str
    keyframe: Keyframe
    first: int
    end: tuple[int, Keyframe] | None
    until: int | None
    _indices: list[int] = field(default_factory=list)
    _times: list[float] = field(default_factory=list)
    _boxes: list[Float64Array] = field(default_factory=list)
    _found: list[bool] = field(default_factory=list)
    _follower: Follower | None = None
    _found_s: float = 0.0
    _cut_s: float | None = None

    def is_done(self, index: int) -> bool:
        """Whether a frame, and all after it, are of no use to it."""
        if self._cut_s is not None or (self.until is not None and index >= self.until):
            return True
        if self.end is not None:
            return index > self.end[0]
        return not self.keyframe.follow and index > self.first

    def add(self, view: View, *, is_cut: bool) -> None:
        """Take in the next frame; the first is that of the keyframe."""
        if self._times and is_cut:
            self._cut_s = view.time_s
            return
        box, found = np.array(self.keyframe.box, np.float64), not self._times
        if self.keyframe.follow and view.luma is not None:
            if self._follower is None:
                self._follower = Follower(view.luma, box, white=view.white)
            else:
                lost = self._times[-1] - self._found_s > _PATIENCE_S
                found = not lost and self._follower.step(view.luma)
            box = self._follower.box
        self._found_s = view.time_s if found else self._found_s
        self._indices.append(view.index)
        self._times.append(view.time_s)
        self._boxes.append(box)
        self._found.append(found)

    @property
    def _meets(self) -> Keyframe | None:
        """The next keyframe, if it is in the same scene."""
        return None if self.end is None or self._cut_s is not None else self.end[1]

    def placed(self) -> list[tuple[int, Float64Array]]:
        """The box of each frame, from the keyframe up to, but not including, the next one."""
        follow, meets = self.keyframe.follow, self._meets
        if not follow and meets is None:
            return [*zip(self._indices, self._boxes, strict=True)][:1]
        times, boxes = np.array(self._times), np.stack(self._boxes)
        known = np.array(self._found)
        size = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1), 1.0)
        growth = np.minimum(_DOUBT * (times - times[0]), _MAX_DOUBT) * size
        last_s = times[known][-1]
        if meets is not None:
            target = np.array(meets.box, np.float64)
            if known[-1]:
                off = target - boxes[-1]
                share = (times - times[0]) / (times[-1] - times[0])
                boxes = boxes + share[:, None] * off
                growth += np.minimum(share, 1 - share) * np.abs(off).max()
            boxes[-1], known[-1] = target, True
        at = times[known]
        boxes = np.stack([np.interp(times, at, column) for column in boxes[known].T], axis=1)
        before = np.searchsorted(at, times, side="right") - 1
        after = np.append(at, np.inf)[np.searchsorted(at, times)]
        # What is lost may come back anywhere before the next keyframe; what was only out of sight
        # for a moment is as near to the one end as it is far from the other.
        left = np.where(times > last_s, np.inf, after - times)
        growth += _PACE * size * np.minimum(times - at[before], left)
        growth *= follow
        wide = boxes + growth[:, None] * np.array([-1, -1, 1, 1])
        return [*zip(self._indices, wide, strict=True)][: None if meets is None else -1]

    def notes(self) -> list[str]:
        """What happened to it that somebody should look at."""
        told = []
        if self.keyframe.follow and self._found and not self._found[-1]:
            last_s = self._times[-1]
            if self._meets is None or last_s - self._found_s > _PATIENCE_S:
                told.append(
                    f"{self.name} lost what it followed at {_shown(self._found_s)}; masked, and "
                    f"growing, until {_shown(last_s)}: add a keyframe"
                )
        if self._cut_s is not None and (self.keyframe.follow or self.end is not None):
            told.append(
                f"{self.name} ends at the cut at {_shown(self._cut_s)}: add a keyframe if it "
                "goes on"
            )
        return told


def _shown(seconds: float) -> str:
    return clock(Fraction(round(seconds * 100), 100))
