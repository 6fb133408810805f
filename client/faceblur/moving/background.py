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

from faceblur.moving.light import GRID, shift_of_light
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
_FAINT: Final = 0.5
"""Of what a pixel may differ by: from there on it is not quite the background either."""


Box = tuple[slice, slice]
"""Rows and columns."""


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
        self._distance: Sight = self._next
        self._spared: Bitmap | None = None
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
        self._follow_light(sight)
        self._distance = cv2.absdiff(sight, self._shown).astype(np.uint8, copy=False)
        self._spared = self._shade(sight) if self._options.shadows == "leave" else None
        over = cv2.compare(self._distance, self._tolerance, cv2.CMP_GT)
        whole = slice(0, self.size.height), slice(0, self.size.width)
        return np.asarray(cv2.bitwise_or(self._any_plane(over, whole), self.unknown), np.uint8)

    def doubtful(self, box: Box) -> Bitmap:
        """The pixels of a part of the last frame that may not be the background.

        They differ by half of what noise and `contrast` allow, or more.
        """
        height = self.size.height
        rows, columns = box
        parts = [slice(rows.start + i * height, rows.stop + i * height) for i in range(3)]
        over = cv2.vconcat(
            [
                cv2.compare(self._distance[part, columns], self._faint[part, columns], cv2.CMP_GT)
                for part in parts
            ]
        )
        return np.asarray(cv2.bitwise_or(self._any_plane(over, box), self.unknown[box]), np.uint8)

    def _any_plane(self, over: cv2.typing.MatLike, box: Box) -> cv2.typing.MatLike:
        """Where any plane of a part is set; the first only where it is not just shade."""
        height = over.shape[0] // 3
        first, second, third = (over[i * height : (i + 1) * height] for i in range(3))
        if self._spared is not None:
            first = cv2.bitwise_and(first, self._spared[box])
        return cv2.bitwise_or(cv2.bitwise_or(first, second), third)

    def _shade(self, sight: Sight) -> Bitmap:
        """Where a frame is not just darker than the background."""
        height = self.size.height
        light = sight[:height]
        shade = cv2.compare(light, self._shown[:height], cv2.CMP_LT)
        lit = cv2.compare(light, self._darkest, cv2.CMP_GT)
        return np.asarray(cv2.bitwise_not(cv2.bitwise_and(shade, lit)), np.uint8)

    def moved_share(self, differing: Bitmap) -> float:
        """Share of the background's edges that are not where they were."""
        if not self._edge_count:
            return 0.0
        return cv2.countNonZero(cv2.bitwise_and(differing, self._edges)) / self._edge_count

    def protect(self, where: Bitmap, *, until_s: float) -> None:
        """Let nothing there become background before a time."""
        self._not_before_s[where > 0] = until_s

    def is_due(self, time_s: float) -> bool:
        """Whether it is time to bring it up to date."""
        return time_s - self._updated_s >= UPDATE_S

    def update(self, sight: Sight, *, differing: Bitmap, masked: Bitmap, time_s: float) -> None:
        """Bring it up to date with a frame.

        Args:
            sight: The frame.
            differing: Where it clearly is not the background.
            masked: All that is masked of it.
            time_s: When it was taken; never goes back.
        """
        step_s = time_s - self._updated_s
        self._updated_s = time_s
        if math.isinf(step_s):
            self._next, step_s = sight.copy(), 0.0
        step_s = min(step_s, _LONGEST_STEP_S)
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
        far = above(np.asarray(cv2.absdiff(sight, self._next), np.uint8), self._same)
        other = far[:height] | far[height : 2 * height] | far[2 * height :]
        stays = (differing > 0) & (other == 0)
        self._age_s += np.where(stays, np.float32(step_s), np.float32(-step_s))
        replaced = self._age_s < 0
        np.maximum(self._age_s, 0, out=self._age_s)
        _copy(sight, self._next, replaced.view(np.uint8))
        due = (differing > 0) & (self._age_s >= self._options.hold_s)
        if due.any():
            due &= self._not_before_s <= time_s
            places = cv2.vconcat([due.view(np.uint8)] * 3)
            cv2.copyTo(self._next.astype(np.float32), places, self._value)
            self._deviation[places > 0] = FIRST_DEVIATION
            self._known[due] = 255
            self._age_s[due] = 0

    def _follow_light(self, sight: Sight) -> None:
        """Shift the background, also where somebody stands before it, as its light has changed."""
        height = self.size.height
        after = sight[:height:GRID, ::GRID][self._grid].astype(np.float32)
        shift = shift_of_light(self._grid_light, after, same=self._same)
        if shift is None:
            return
        self._value[:height] += shift[self._shown[:height]]
        np.clip(self._value[:height], 0, 255, out=self._value[:height])
        self._show()

    def _show(self) -> None:
        self._shown: Sight = cv2.convertScaleAbs(self._value).astype(np.uint8, copy=False)
        light = self._shown[: self.size.height]
        self._grid = self._known[::GRID, ::GRID] > 0
        self._grid_light = light[::GRID, ::GRID][self._grid].astype(np.float32)
        self._darkest: Sight = cv2.convertScaleAbs(light, alpha=_DARKEST_SHADOW).astype(np.uint8)

    def _refresh(self) -> None:
        """Prepare what every frame is compared with."""
        height = self.size.height
        contrast = self._options.contrast
        self._show()
        over = np.maximum(self._deviation, np.float32(FIRST_DEVIATION))
        noise = cv2.convertScaleAbs(over, alpha=_DEVIATIONS, beta=-_DEVIATIONS * FIRST_DEVIATION)
        tolerance: Sight = np.minimum(noise, np.uint8(_MAX_NOISE)).astype(np.uint8, copy=False)
        tolerance[:height] += np.uint8(contrast)
        tolerance[height:] += np.uint8(contrast * _CHROMA_SHARE)
        self._tolerance = tolerance
        self._faint = cv2.convertScaleAbs(tolerance, alpha=_FAINT).astype(np.uint8, copy=False)
        self._same = contrast + _SAME
        self.unknown: Bitmap = np.asarray(cv2.bitwise_not(self._known), np.uint8)
        kernel = np.ones((3, 3), np.uint8)
        steps = cv2.morphologyEx(self._shown[:height], cv2.MORPH_GRADIENT, kernel)
        edges = above(np.asarray(steps, np.uint8), _EDGE)
        self._edges: Bitmap = np.asarray(cv2.bitwise_and(edges, self._known), np.uint8)
        self._edge_count = cv2.countNonZero(self._edges)


def _copy(source: Sight, target: Sight, where: Bitmap) -> None:
    """Copy the marked pixels of all planes."""
    cv2.copyTo(source, cv2.vconcat([where] * 3), target)
