"""From differing pixels to what is masked."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.detections import FloatArray
from faceblur.moving.background import Background, FloatMap
from faceblur.moving.options import MovingOptions
from faceblur.moving.sight import Bitmap, Sight, SightSize, above

Outline = npt.NDArray[np.int32]

_DENSE: Final = 0.3
"""Of the pixels around one: fewer are noise."""
_NEIGHBOURHOOD: Final = (3, 3)
_COARSE: Final = 2
"""Pixels of a sight to one of a shape: outlines need no more, and take a quarter of the time."""
_JOIN: Final = 0.03
"""Parts of somebody that are no further apart belong together, as a share of the longer side."""
_TRAIL_S: Final = 0.4
"""What was masked stays so: a part of somebody may look like the background for a moment."""
_JUMP: Final = 0.5
"""Where more differs, it is the view or the light that changed."""
_MOVED: Final = 0.5
"""Share of edges that went elsewhere, where it is the camera that was moved."""
_LEARNT: Final = 0.5
"""Share of the pixels that must be known before anything is shown."""


class MovingMask:
    """Finds what moves in the frames of a fixed view. For one thread; frames come in order.

    Attributes:
        whole: Everything of the last frame was masked: the background is not learnt yet, or the
            view or its light has changed.
    """

    def __init__(self, frame_width: int, frame_height: int, options: MovingOptions) -> None:
        """Begin with nothing known of a view whose frames have this size, pixels."""
        self.size = SightSize.of(frame_width, frame_height)
        self._options = options
        self._background = Background(self.size, options)
        width, height = -(-self.size.width // _COARSE), -(-self.size.height // _COARSE)
        self._coarse = width, height
        self._scale = width / frame_width, height / frame_height
        longest = max(self._coarse)
        self._join = _square(round(_JOIN * longest))
        self._margin = _square(round(options.margin * longest))
        self._smallest = options.smallest * width * height
        self._seen_s: FloatMap = np.full((height, width), -1e9, np.float32)
        self._start_s: float | None = None
        self.whole = True

    @property
    def known_share(self) -> float:
        """Share of the view whose background is known, 0-1."""
        return self._background.known_share

    def set(self, value: FloatMap, deviation: FloatMap, known: Bitmap) -> None:
        """Begin with a background that was learnt elsewhere."""
        self._background.set(value, deviation, known)

    def find(self, sight: Sight, *, time_s: float, faces: FloatArray) -> Bitmap:
        """What is to be masked in the next frame: a bitmap of all of it, at half the sight's size.

        Args:
            sight: The frame as `size.look` gives it.
            time_s: When it was taken, seconds; never goes back.
            faces: (N, 4) boxes in pixels of the frame, x1 y1 x2 y2: who is there is masked longer.
        """
        if self._start_s is None:
            self._start_s = time_s
        time_s -= self._start_s
        differing = self._background.differing(sight)
        moving = self._shapes(differing)
        self._seen_s[moving > 0] = time_s
        recent = self._seen_s >= time_s - _TRAIL_S
        masked: Bitmap = np.uint8(255) * recent.view(np.uint8)
        share = cv2.countNonZero(differing) / self.size.area
        self.whole = (
            self.known_share < _LEARNT
            or share > _JUMP
            or self._background.moved_share(differing) > _MOVED
        )
        if self.whole:
            masked[:] = 255
        elif len(faces):
            self._protect(moving, faces, time_s)
        size = (self.size.width, self.size.height)
        hidden = np.asarray(cv2.resize(masked, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        self._background.update(sight, differing=differing, masked=hidden, time_s=time_s)
        return masked

    def _shapes(self, differing: Bitmap) -> Bitmap:
        """Whole figures: without noise, with what lies between their parts, and a margin."""
        coarse = cv2.resize(differing, self._coarse, interpolation=cv2.INTER_AREA)
        density = cv2.blur(coarse, _NEIGHBOURHOOD)
        dense = above(np.asarray(density, np.uint8), 255 * _DENSE)
        # Small ones go first: else drops of rain would be joined, and be large.
        parts: Bitmap = np.zeros_like(dense)
        cv2.drawContours(parts, self._large(dense), -1, (255,), cv2.FILLED)
        joined = cv2.morphologyEx(parts, cv2.MORPH_CLOSE, self._join)
        figures: Bitmap = np.zeros_like(dense)
        outlines, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(figures, outlines, -1, (255,), cv2.FILLED)
        # What is not known is never shown, however small.
        unknown = cv2.resize(self._background.unknown, self._coarse, interpolation=cv2.INTER_AREA)
        hidden = above(np.asarray(unknown, np.uint8), 0)
        return np.asarray(cv2.bitwise_or(cv2.dilate(figures, self._margin), hidden), np.uint8)

    def _large(self, dense: Bitmap) -> list[Outline]:
        outlines, _ = cv2.findContours(dense, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        large = [each for each in outlines if cv2.contourArea(each) >= self._smallest]
        return [np.asarray(each, np.int32) for each in large]

    def _protect(self, moving: Bitmap, faces: FloatArray, time_s: float) -> None:
        """Keep whoever has a face masked for longer."""
        _, labels = cv2.connectedComponents(moving)
        scaled = faces * np.tile(np.array(self._scale, np.float32), 2)
        bounds = [*self._coarse] * 2
        for x0, y0, x1, y1 in np.clip(np.rint(scaled), 0, bounds).astype(int).tolist():
            touched = np.unique(labels[y0 : y1 + 1, x0 : x1 + 1])
            for label in touched[touched > 0].tolist():
                until_s = time_s + self._options.face_hold_s
                where = cv2.resize(
                    (labels == label).view(np.uint8),
                    (self.size.width, self.size.height),
                    interpolation=cv2.INTER_NEAREST,
                )
                self._background.protect(np.asarray(where, np.uint8), until_s=until_s)


def _square(reach: int) -> Bitmap:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
