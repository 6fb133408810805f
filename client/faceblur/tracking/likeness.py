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

from faceblur.detections import Detections, FloatArray
from faceblur.image.pixels import Array

_SIDE: Final = 20
"""Samples across and down."""
_SHIFT: Final = 3
"""By so many a face may have been found beside where it was."""
_CONTEXT: Final = 0.2
"""What is looked at around the box, in its sizes."""
_ALIKE: Final = 0.8
"""Correlation with a moment before, below which it may be another face."""
_DISSOLVES_S: Final = (0.4, 1.0, 2.0)
_BLENDED: Final = 0.35
"""Difference from the mean of before and after, in differences of both, in a dissolve."""
_LOOK_BACK: Final = 1.5


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
    """What a track looked like lately."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.lately: deque[tuple[float, FloatArray]] = deque()

    def add(self, look: FloatArray, time_s: float) -> None:
        while self.lately and time_s - self.lately[0][0] > _DISSOLVES_S[-1] * 1.25:
            self.lately.popleft()
        self.lately.append((time_s, look))

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
                look = _look(luma, faces.boxes[i], white)
                doubtful_s = None if look is None else looks.doubtful_s(look, time_s)
                if doubtful_s is not None:
                    self.doubts.append(Doubt(looks.number, time_s - doubtful_s, time_s))
                    looks = self._begin(track)
                if look is not None:
                    looks.add(look, time_s)
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
