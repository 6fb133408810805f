"""The background of a fixed view, learnt pixel by pixel.

OpenCV's own background subtractors were measured beside this one (`perf/run moving`): they take
longer at this size, and forget for how long somebody stood there: their weights add up whoever
comes and goes. Here one rule holds at the start and ever after: a value is background once it
has been there, unchanged, for `hold_s`.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.moving.options import MovingOptions
from faceblur.moving.sight import Bitmap, Sight, SightSize, above

FloatMap = npt.NDArray[np.float32]

UPDATE_S: Final = 0.4
"""How often the background is brought up to date."""
_LONGEST_STEP_S: Final = 2.0
"""What a gap between frames counts for, at most: nobody saw what happened in it."""

_DRIFT_S: Final = 8.0
"""How slowly the background follows what is still taken for it, as daylight changes."""
_CHROMA_SHARE: Final = 0.6
"""Of the contrast, for planes of colour: they hold less noise."""
_DEVIATIONS: Final = 4.0
"""By so many mean deviations a pixel differs from itself, just by noise and flicker."""
_MAX_NOISE: Final = 20.0
"""Levels that noise adds to the contrast, at most: more would hide people."""
FIRST_DEVIATION: Final = 1.5
_SAME: Final = 6.0
"""Levels beside the contrast by which what stands still may change."""
_EDGE: Final = 20
"""Levels between neighbours that make an edge."""
_DARKEST_SHADOW: Final = 0.45

_GRID: Final = 8
"""Every so many pixels, across and down, the light is compared."""
_SHIFT: Final = 1.5
"""Levels by which the light must have changed to be followed at once."""
_MAX_SHIFT: Final = 40.0
_FULL_SHIFT: Final = 48.0
"""Levels from which on it shifts fully; black stays black."""
_FITS: Final = 0.6
"""Share of the view that must fit after the shift: else it is not the light that changed."""


class Background:
    """What is known of a view. For one thread.

    Each pixel has a value and how much it varies, and the value that may take its place with the
    seconds for which that was there: those count back where something else is seen.

    Attributes:
        unknown: Where nothing is known yet.
    """

    def __init__(self, size: SightSize, options: MovingOptions) -> None:
        self.size = size
        self._options = options
        shape = (3 * size.height, size.width)
        self._value: FloatMap = np.zeros(shape, np.float32)
        self._deviation: FloatMap = np.full(shape, FIRST_DEVIATION, np.float32)
        self._known: Bitmap = np.zeros((size.height, size.width), np.uint8)
        self._next: Sight = np.zeros(shape, np.uint8)
        self._age_s: FloatMap = np.zeros((size.height, size.width), np.float32)
        self._not_before_s = np.full((size.height, size.width), -math.inf)
        self._updated_s = -math.inf
        self._refresh()

    @property
    def known_share(self) -> float:
        """Share of the pixels that are known."""
        return cv2.countNonZero(self._known) / self.size.area

    def set(self, value: FloatMap, deviation: FloatMap, known: Bitmap) -> None:
        """Take over a background that was learnt elsewhere."""
        self._value[:], self._deviation[:], self._known[:] = value, deviation, known
        self._refresh()

    def differing(self, sight: Sight) -> Bitmap:
        """The pixels that are not the background, or of which that is not known.

        Cameras change their exposure when somebody in black comes in: that is told from the view
        as a whole, and followed.
        """
        height = self.size.height
        self._follow_light(sight)
        over = cv2.compare(cv2.absdiff(sight, self._shown), self._tolerance, cv2.CMP_GT)
        first, second, third = (over[i * height : (i + 1) * height] for i in range(3))
        colour = cv2.bitwise_or(second, third)
        if self._options.shadows == "leave":
            light = sight[:height]
            shade = cv2.compare(light, self._shown[:height], cv2.CMP_LT)
            lit = cv2.compare(light, self._darkest, cv2.CMP_GT)
            first = cv2.bitwise_and(first, cv2.bitwise_not(cv2.bitwise_and(shade, lit)))
        changed = cv2.bitwise_or(first, colour)
        return np.asarray(cv2.bitwise_or(changed, self.unknown), np.uint8)

    def moved_share(self, differing: Bitmap) -> float:
        """Share of the background's edges that are not where they were."""
        if not self._edge_count:
            return 0.0
        return cv2.countNonZero(cv2.bitwise_and(differing, self._edges)) / self._edge_count

    def protect(self, where: Bitmap, *, until_s: float) -> None:
        """Let nothing there become background before a time."""
        self._not_before_s[where > 0] = until_s

    def update(self, sight: Sight, *, differing: Bitmap, masked: Bitmap, time_s: float) -> None:
        """Bring it up to date with a frame, if it is time.

        Args:
            sight: The frame.
            differing: What `differing` gave for it.
            masked: All that is masked of it.
            time_s: When it was taken; never goes back.
        """
        step_s = time_s - self._updated_s
        if step_s < UPDATE_S:
            return
        self._updated_s = time_s
        step_s = 0.0 if math.isinf(step_s) else min(step_s, _LONGEST_STEP_S)
        still = cv2.bitwise_and(cv2.bitwise_not(masked), self._known)
        weight = 1 - math.exp(-step_s / _DRIFT_S)
        stacked = cv2.vconcat([still] * 3)
        distance = cv2.absdiff(sight, self._shown)
        cv2.accumulateWeighted(sight, self._value, weight, stacked)
        cv2.accumulateWeighted(distance, self._deviation, weight, stacked)
        self._wait(sight, differing, step_s, time_s)
        self._refresh()

    def _wait(self, sight: Sight, differing: Bitmap, step_s: float, time_s: float) -> None:
        """Count for how long what differs has been there, and take it over after `hold_s`."""
        height = self.size.height
        far = cv2.absdiff(sight, self._next) > self._same
        other = far[:height] | far[height : 2 * height] | far[2 * height :]
        differs = differing > 0
        self._age_s += np.where(other | ~differs, np.float32(-step_s), np.float32(step_s))
        replaced = self._age_s < 0
        self._age_s[replaced] = 0
        _copy(sight, self._next, replaced.view(np.uint8))
        due = differs & (self._age_s >= self._options.hold_s) & (self._not_before_s <= time_s)
        if due.any():
            places = cv2.vconcat([due.view(np.uint8)] * 3)
            cv2.copyTo(self._next.astype(np.float32), places, self._value)
            self._deviation[places > 0] = FIRST_DEVIATION
            self._known[due] = 255
            self._age_s[due] = 0

    def _follow_light(self, sight: Sight) -> None:
        """Shift the background, also where somebody stands before it, as its light has changed."""
        height = self.size.height
        places = self._known[::_GRID, ::_GRID] > 0
        if not places.any():
            return
        before = self._shown[:height:_GRID, ::_GRID][places].astype(np.float32)
        change = sight[:height:_GRID, ::_GRID][places] - before
        if abs(float(np.median(change))) < _SHIFT:
            return
        middle = np.median(before)
        halves = [before <= middle, before > middle]
        if not all(half.any() for half in halves):
            return
        (x0, y0), (x1, y1) = ((np.median(before[h]), np.median(change[h])) for h in halves)
        slope = (y1 - y0) / max(x1 - x0, 1.0)
        levels = np.arange(256, dtype=np.float32)
        shift = y0 + slope * (np.clip(levels, x0, x1) - x0)
        shift *= np.minimum(levels / _FULL_SHIFT, 1)
        left = change - shift[before.astype(np.uint8)]
        if np.abs(shift).max() > _MAX_SHIFT or np.mean(np.abs(left) < self._same) < _FITS:
            return
        self._value[:height] += shift[self._shown[:height]]
        np.clip(self._value[:height], 0, 255, out=self._value[:height])
        self._show()

    def _show(self) -> None:
        self._shown: Sight = cv2.convertScaleAbs(self._value).astype(np.uint8, copy=False)
        light = self._shown[: self.size.height]
        self._darkest: Sight = cv2.convertScaleAbs(light, alpha=_DARKEST_SHADOW).astype(np.uint8)

    def _refresh(self) -> None:
        """Prepare what every frame is compared with."""
        height = self.size.height
        contrast = self._options.contrast
        self._show()
        noise = np.minimum(_DEVIATIONS * (self._deviation - FIRST_DEVIATION), _MAX_NOISE)
        tolerance = np.maximum(noise, 0)
        tolerance[:height] += contrast
        tolerance[height:] += contrast * _CHROMA_SHARE
        self._tolerance: Sight = tolerance.astype(np.uint8)
        self._same = np.float32(contrast + _SAME)
        self.unknown: Bitmap = np.asarray(cv2.bitwise_not(self._known), np.uint8)
        kernel = np.ones((3, 3), np.uint8)
        steps = cv2.morphologyEx(self._shown[:height], cv2.MORPH_GRADIENT, kernel)
        edges = above(np.asarray(steps, np.uint8), _EDGE)
        self._edges: Bitmap = np.asarray(cv2.bitwise_and(edges, self._known), np.uint8)
        self._edge_count = cv2.countNonZero(self._edges)


def _copy(source: Sight, target: Sight, where: Bitmap) -> None:
    """Copy the marked pixels of all planes."""
    cv2.copyTo(source, cv2.vconcat([where] * 3), target)
