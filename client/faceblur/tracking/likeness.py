"""Notice where one face may have been replaced by another in the same place.

Behind a cut that went unnoticed, a dissolve, or a moment in which nothing was found, the tracker
may go on with another face. So what a track looks like is compared with what it looked like a
moment before. That can only cut a track: nothing is ever joined for looking alike.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from faceblur.boxes import box_iou
from faceblur.detections import Detections, FloatArray
from faceblur.image.pixels import Array
from faceblur.tracking.duplicates import are_duplicates

_SIDE: Final = 20
"""Samples across and down."""
_SHIFT: Final = 3
"""By so many a face may have been found beside where it was."""
_CONTEXT: Final = 0.2
"""What counts around the box, in its sizes."""
_ALIKE: Final = 0.8
"""Correlation with a moment before, below which it may be another face."""
_DISSOLVES_S: Final = (0.4, 1.0, 2.0)
_BLENDED: Final = 0.35
"""Difference from the mean of before and after, in differences of both, in a dissolve."""
_LOOK_BACK: Final = 1.5
_ON_FACE: Final = 0.3
"""Intersection over union of the box of a face and what is looked at of it, at least."""


@dataclass(frozen=True)
class Doubt:
    """A time in which a track may be two.

    Attributes:
        track: Its number, as in the faces that `LikenessCheck.follow` gives back.
        start_s: Seconds, as of the frames.
        end_s: Likewise.
    """

    track: int
    start_s: float
    end_s: float


class _Looks:
    """What a track looked like lately, always at the same place of the face.

    Attributes:
        seen: The face as it was found last.
        place: What was looked at then, x0 y0 x1 y1: the box that was found, or, since the detector
            began to draw that elsewhere on the same face, where it would be otherwise.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.lately: deque[tuple[float, FloatArray]] = deque()
        self.seen = Detections.empty()
        self.place = np.zeros(4, np.float32)

    def follow(self, face: Detections) -> FloatArray:
        """Where to look at a face that was found again: as far off its box as the last time."""
        box: FloatArray = face.boxes[0]
        if not len(self.seen):
            return box
        last = self.seen.boxes[0]
        scale = (box[2:] - box[:2]) / np.maximum(last[2:] - last[:2], 1e-6)
        off = self.place.reshape(2, 2) - last[:2]
        place: FloatArray = (box[:2] + off * scale).reshape(4).astype(np.float32)
        return place

    def is_redrawn(self, face: Detections) -> bool:
        """Whether a box leapt, though the face that is in it has not moved."""
        if not len(self.seen):
            return False
        boxes = np.concatenate([face.boxes, self.seen.boxes]).astype(np.float64)
        points = np.concatenate([face.landmarks, self.seen.landmarks]).astype(np.float64)
        overlap = float(box_iou(face.boxes, self.place[None])[0, 0])
        return overlap >= _ON_FACE and bool(are_duplicates(boxes, points)[0, 1])

    def add(self, look: FloatArray, time_s: float, face: Detections, place: FloatArray) -> None:
        """Take in the next look."""
        while self.lately and time_s - self.lately[0][0] > _DISSOLVES_S[-1] * 1.25:
            self.lately.popleft()
        self.lately.append((time_s, look))
        self.seen, self.place = face, place

    def doubtful_s(self, look: FloatArray, time_s: float) -> float | None:
        """For how long until now it may have been another; None if it is the same."""
        if not self.lately:
            return None
        last_s, last = self.lately[-1]
        if _likeness(last, look) < _ALIKE:
            return time_s - last_s
        for span_s in _DISSOLVES_S:
            whole, half = (
                min(self.lately, key=lambda item: abs(time_s - back_s - item[0]))
                for back_s in (span_s, span_s / 2)
            )
            if abs(time_s - span_s - whole[0]) > span_s / 4 or half[0] <= whole[0]:
                continue
            if _likeness(whole[1], look) >= _ALIKE:
                continue
            share = np.float32((half[0] - whole[0]) / (time_s - whole[0]))
            blended = whole[1] + (look - whole[1]) * share
            if np.abs(half[1] - blended).mean() < _BLENDED * np.abs(look - whole[1]).mean():
                return _LOOK_BACK * span_s
        return None


class LikenessCheck:
    """Goes through the frames of a video, in order.

    Attributes:
        doubts: Times in which tracks may be two.
    """

    def __init__(self) -> None:
        self.doubts: list[Doubt] = []
        self._looks: dict[int, _Looks] = {}
        self._count = 0

    def follow(
        self, faces: Detections, luma: Array, time_s: float, *, white: float = 255.0
    ) -> Detections:
        """Give tracks other numbers from where on they may be of another face.

        Args:
            faces: Those of the next frame, in its pixels.
            luma: (H, W) its brightness.
            time_s: Its time.
            white: The largest value of brightness.
        """
        numbers = np.zeros(len(faces), np.int32)
        for i, track in enumerate(faces.tracks.tolist()):
            if not track:
                continue
            looks = self._looks.get(track) or self._begin(track)
            if faces.scores[i] > 0:
                face = faces.select(slice(i, i + 1))
                place = looks.follow(face)
                look = _look(luma, place, white)
                doubtful_s = None if look is None else looks.doubtful_s(look, time_s)
                if doubtful_s is not None and looks.is_redrawn(face):
                    # What it was drawn around before says whether anything has changed.
                    same = _look(luma, looks.place, white)
                    if same is not None and looks.doubtful_s(same, time_s) is None:
                        look, place, doubtful_s = same, looks.place, None
                if doubtful_s is not None:
                    self.doubts.append(Doubt(looks.number, time_s - doubtful_s, time_s))
                    looks = self._begin(track)
                    place = face.boxes[0]
                    look = _look(luma, place, white)
                if look is not None:
                    looks.add(look, time_s, face, place)
            numbers[i] = looks.number
        return Detections(faces.boxes, faces.scores, faces.landmarks, numbers)

    def _begin(self, track: int) -> _Looks:
        self._count += 1
        self._looks[track] = _Looks(self._count)
        return self._looks[track]


def _look(luma: Array, box: FloatArray, white: float) -> FloatArray | None:
    """A face and what is right around it, small; None if it lies outside the frame."""
    margin = (box[2:] - box[:2]) * np.float32(_CONTEXT)
    low = np.maximum(np.floor(box[:2] - margin), 0).astype(int)
    high = np.minimum(np.ceil(box[2:] + margin), luma.shape[::-1]).astype(int)
    if (high - low < 2).any():
        return None
    part = np.ascontiguousarray(luma[low[1] : high[1], low[0] : high[0]])
    small = cv2.resize(part, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) * np.float32(255 / white)


def _likeness(before: FloatArray, after: FloatArray) -> float:
    """Correlation, -1 to 1, at the best of some small shifts."""
    inner = np.ascontiguousarray(after[_SHIFT:-_SHIFT, _SHIFT:-_SHIFT])
    if float(inner.std()) < 1 or float(before.std()) < 1:
        return -1.0
    return float(cv2.matchTemplate(before, inner, cv2.TM_CCOEFF_NORMED).max())
