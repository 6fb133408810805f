"""Which faces and which areas of a frame are masked, by the policy."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceblur.detections import DRAWN_SCORE, PIXEL_DIGITS, Detections
from faceblur.masks.areas import Area
from faceblur.masks.policy import Policy
from faceblur.masks.polygons import BoolArray, Polygon, holds
from faceblur.masks.regions import Region
from faceblur.masks.silhouettes import silhouettes
from faceblur.times import TimeSpan

logger = logging.getLogger(__name__)


class Choice(NamedTuple):
    """What is masked in one frame.

    Attributes:
        faces: In pixels of the frame, as they are reported: to 1/100 pixel.
        areas: What is covered wholly: areas, and what moves.
    """

    faces: Detections
    areas: Sequence[Region]


class Selection:
    """Applies a policy to frames of one size. Safe to share between threads.

    Where settings contradict each other, the one that masks more counts: so what somebody drew is
    masked whatever they say. A face is spared by a
    zone only if the whole box around its mask, as far as it is in the image, lies in this one
    zone. What a policy says of times counts where the time of a frame is known: a frame is hidden
    if it is shown at any time of the span, spared only if it is shown at no other time. What moves
    is spared like a face: if the whole box around it lies in one zone.
    """

    def __init__(self, policy: Policy, width: int, height: int) -> None:
        self._policy = policy
        self._size = width, height
        self._image_size = np.array([width, height, width, height], np.float64)
        # With the time when each counts; None for always.
        self._areas: list[tuple[Area, TimeSpan | None]] = []
        self._spared: list[tuple[Polygon, TimeSpan | None]] = []
        for zone in policy.zones:
            polygon = zone.polygon(width, height)
            area = Area.within(polygon, width, height)
            if area is None:
                logger.warning("the zone %s lies outside the image, %d×%d", zone, width, height)
            elif zone.kind == "always":
                self._areas.append((area, zone.time))
            else:
                self._spared.append((polygon, zone.time))
        hidden = [span.time for span in policy.spans if span.effect == "hide"]
        if hidden:
            corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
            whole = Area.within(corners, width, height)
            self._areas += [(whole, time) for time in hidden if whole is not None]

    def choose(
        self,
        faces: Detections,
        shown: TimeSpan | None = None,
        *,
        moving: npt.NDArray[np.uint8] | None = None,
    ) -> Choice:
        """Decide what is masked in a frame.

        Args:
            faces: What was found, or drawn by hand, in pixels of the frame.
            shown: When the frame is shown, from the start of the video; None if it has no time,
                as a still image or a live one.
            moving: What moves, as `MovingMask.find` gives it.
        """
        areas: list[Region] = [area for area, time in self._areas if _meets(time, shown)]
        if moving is not None and not self._spares_all(shown):
            areas += self._moving(moving, shown)
        if not len(faces):
            return Choice(faces, areas)
        faces = _round_as_reported(faces)
        masked = ~self._left_alone(faces, shown)
        return Choice(faces if masked.all() else faces.select(masked), areas)

    def _moving(self, bitmap: npt.NDArray[np.uint8], shown: TimeSpan | None) -> list[Region]:
        shapes = silhouettes(bitmap, *self._size)
        spared = [polygon for polygon, time in self._spared if _covers(time, shown)]
        if not spared:
            return list(shapes)
        regions: list[Region] = []
        for shape in shapes:
            box = np.array([[shape.x0, shape.y0, shape.x1, shape.y1]], np.float64)
            if not any(holds(polygon, box)[0] for polygon in spared):
                regions.append(shape)
        return regions

    def _spares_all(self, shown: TimeSpan | None) -> bool:
        """Whether a frame is shown as it is, but for areas."""
        spans = (span for span in self._policy.spans if span.effect == "spare")
        return shown is not None and any(span.time.contains(shown) for span in spans)

    def _left_alone(self, faces: Detections, shown: TimeSpan | None) -> BoolArray:
        boxes = faces.boxes.astype(np.float64)
        alone: BoolArray = boxes[:, 3] - boxes[:, 1] < self._policy.min_face
        if self._spares_all(shown):
            alone[:] = True
        spared = [polygon for polygon, time in self._spared if _covers(time, shown)]
        if spared:
            margin = np.tile((boxes[:, 2:] - boxes[:, :2]) * self._policy.mask.expand, 2)
            seen = np.clip(boxes + margin * (-1, -1, 1, 1), 0, self._image_size)
            for polygon in spared:
                alone |= holds(polygon, seen)
        # An invalid box is left to the masker, which refuses the frame.
        alone &= (boxes[:, 2:] >= boxes[:, :2]).all(axis=1)
        return np.asarray(alone & (faces.scores < DRAWN_SCORE))


def _meets(time: TimeSpan | None, shown: TimeSpan | None) -> bool:
    return time is None or (shown is not None and time.overlaps(shown))


def _covers(time: TimeSpan | None, shown: TimeSpan | None) -> bool:
    return time is None or (shown is not None and time.contains(shown))


def _round_as_reported(faces: Detections) -> Detections:
    """Faces exactly as reports have them, so that a report replayed gives the same masks."""
    boxes, landmarks = (
        np.round(values.astype(np.float64), PIXEL_DIGITS).astype(np.float32)
        for values in (faces.boxes, faces.landmarks)
    )
    return Detections(boxes, faces.scores, landmarks, faces.tracks)
