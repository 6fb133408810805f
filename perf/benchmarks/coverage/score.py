"""Count faces that show in masked frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.image.pixels import BgrImage

Mask = npt.NDArray[np.bool_]

MARK: Final = (0, 255, 0)
"""Colour of the masks, RGB, that no face has."""

MIN_MASKED: Final = 0.9
"""A face leaks when less of what shows of its inscribed ellipse is masked."""


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one frame.

    Attributes:
        visible: (H, W), its part that shows.
        whole: (H, W), hidden parts included.
        appearance: The same in consecutive frames that show the same face.
    """

    visible: Mask
    whole: Mask
    appearance: int = 0


@dataclass(frozen=True)
class Score:
    """How well one contender covered one clip, or several.

    Attributes:
        face_frames: Faces that showed, in all frames.
        leaked: How many of them leaked.
        longest_leak: In how many frames in a row one face leaked.
        first_mask: Frames from the appearance of a face to its first mask, the worst of them.
        first_mask_mean: The mean of them.
        appearances: How many there were.
        extra: Part of all pixels that were masked though no face was there, 0-1.
    """

    face_frames: int
    leaked: int
    longest_leak: int
    first_mask: int
    first_mask_mean: float
    appearances: int
    extra: float

    @property
    def per_1000(self) -> float:
        """Leaked face-frames of a thousand."""
        return 1000 * self.leaked / max(1, self.face_frames)

    @classmethod
    def joined(cls, scores: Sequence[Score]) -> Score:
        """Several clips together."""
        appearances = sum(s.appearances for s in scores)
        waited = sum(s.first_mask_mean * s.appearances for s in scores)
        return cls(
            face_frames=sum(s.face_frames for s in scores),
            leaked=sum(s.leaked for s in scores),
            longest_leak=max(s.longest_leak for s in scores),
            first_mask=max(s.first_mask for s in scores),
            first_mask_mean=waited / max(1, appearances),
            appearances=appearances,
            extra=float(np.mean([s.extra for s in scores])),
        )


class Scorer:
    """Looks at the frames of one masked clip, in order."""

    def __init__(self) -> None:
        self._runs: dict[int, int] = {}
        self._waited: dict[int, int] = {}
        self._masked: set[int] = set()
        self._face_frames = self._leaked = self._longest = 0
        self._extra: list[float] = []

    def add(self, image: BgrImage, faces: Sequence[Face]) -> None:
        """Look at the next frame, BGR, whose masks have the colour `MARK`."""
        marked = is_marked(image)
        outside = marked.copy()
        runs: dict[int, int] = {}
        for face in faces:
            outside &= ~face.whole
            self._face_frames += 1
            key = face.appearance
            self._waited.setdefault(key, 0)
            if marked[face.visible].mean() >= MIN_MASKED:
                self._masked.add(key)
                continue
            self._leaked += 1
            runs[key] = self._runs.get(key, 0) + 1
            self._longest = max(self._longest, runs[key])
            self._waited[key] += key not in self._masked
        self._runs = runs
        self._extra.append(float(outside.mean()))

    def score(self) -> Score:
        """All frames so far."""
        waited = list(self._waited.values())
        return Score(
            face_frames=self._face_frames,
            leaked=self._leaked,
            longest_leak=self._longest,
            first_mask=max(waited, default=0),
            first_mask_mean=float(np.mean(waited)) if waited else 0.0,
            appearances=len(waited),
            extra=float(np.mean(self._extra)),
        )


def is_marked(image: BgrImage) -> Mask:
    """Which pixels are masked; it withstands lossy compression."""
    blue, green, red = cv2.split(image)
    marked: Mask = cv2.subtract(green, cv2.max(blue, red)) > 100
    return marked
