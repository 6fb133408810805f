"""From differing pixels to what is masked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
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
_JOIN: Final = 0.02
"""Parts of somebody that are no further apart belong together, as a share of the longer side."""
_TRAIL_S: Final = 0.4
"""What was masked stays so unless it is the background beyond doubt: a part of somebody may look
much like it for a moment."""
_COMES_S: Final = 0.25
"""Whoever appears is masked for so long before, too: a first sliver of them is smaller than
`smallest`."""
_PAST: Final = 2
"""Frames: whoever was there in the last one, and not in the one before, has come. Drops of rain
are hardly ever at one place in two frames."""
_JUMP: Final = 0.5
"""Where more differs, it is the view or the light that changed."""
_MOVED: Final = 0.5
"""Share of edges that went elsewhere, where it is the camera that was moved."""
_LEARNT: Final = 0.5
"""Share of the pixels that must be known before anything is shown."""


@dataclass(frozen=True, eq=False)
class Found:
    """What moves in a frame: bitmaps of all of it, at half the sight's size.

    Attributes:
        masked: What is to be masked.
        come: Of it, who has just come: they are to be masked in the frames before as well.
        time_s: When the frame was taken.
        whole: All of it is masked, not because somebody is there.
    """

    masked: Bitmap
    come: Bitmap | None
    time_s: float
    whole: bool


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
        self._margin = round(options.margin * longest)
        self._smallest = options.smallest * width * height
        self._seen_s: FloatMap = np.full((height, width), -1e9, np.float32)
        self._before: deque[Bitmap] = deque(maxlen=_PAST)
        self._start_s: float | None = None
        self.whole = True
        self._hide_unknown()

    @property
    def known_share(self) -> float:
        """Share of the view whose background is known, 0-1."""
        return self._background.known_share

    @property
    def unknown(self) -> Bitmap:
        """Where the background is not known, at the sight's size."""
        return self._background.unknown

    def set(self, value: FloatMap, deviation: FloatMap, known: Bitmap) -> None:
        """Begin with a background that was learnt elsewhere."""
        self._background.set(value, deviation, known)
        self._hide_unknown()

    def find(self, sight: Sight, *, time_s: float) -> Found:
        """What is to be masked in the next frame.

        Args:
            sight: The frame as `size.look` gives it.
            time_s: When it was taken, seconds; never goes back.
        """
        if self._start_s is None:
            self._start_s = time_s
        since_s = time_s - self._start_s
        clear = self._background.differing(sight)
        figures, outlines = self._figures(clear)
        come = self._come(outlines, figures)
        np.copyto(self._seen_s, np.float32(since_s), where=figures > 0)
        masked = self._widened(cv2.bitwise_or(figures, self._trail(since_s)))
        # What is not known is never shown, however small.
        masked |= self._hidden
        share = cv2.countNonZero(clear) / self.size.area
        self.whole = (
            self.known_share < _LEARNT
            or share > _JUMP
            or self._background.moved_share(clear) > _MOVED
        )
        if self.whole:
            masked[:] = 255
        self._before.append(masked)
        if self._background.is_due(since_s):
            hidden = self._enlarged(masked)
            self._background.update(sight, differing=clear, masked=hidden, time_s=since_s)
            self._hide_unknown()
        return Found(masked, come, time_s, self.whole)

    def protect(self, found: Found, faces: FloatArray) -> None:
        """Keep whoever has a face masked for longer.

        Args:
            found: What `find` gave for a frame.
            faces: (N, 4) boxes in pixels of that frame, x1 y1 x2 y2.
        """
        if found.whole or not len(faces):
            return
        _, labels = cv2.connectedComponents(found.masked)
        scaled = faces * np.tile(np.array(self._scale, np.float32), 2)
        bounds = [*self._coarse] * 2
        until_s = found.time_s - (self._start_s or 0.0) + self._options.face_hold_s
        for x0, y0, x1, y1 in np.clip(np.rint(scaled), 0, bounds).astype(int).tolist():
            touched = np.unique(labels[y0 : y1 + 1, x0 : x1 + 1])
            for label in touched[touched > 0].tolist():
                where = self._enlarged((labels == label).view(np.uint8))
                self._background.protect(where, until_s=until_s)

    def _figures(self, differing: Bitmap) -> tuple[Bitmap, list[Outline]]:
        """Whole figures: without noise, and with what lies between their parts."""
        dense = self._dense(differing, self._coarse)
        # Small ones go first: else drops of rain would be joined, and be large.
        parts: Bitmap = np.zeros_like(dense)
        cv2.drawContours(parts, self._large(dense), -1, (255,), cv2.FILLED)
        joined = cv2.morphologyEx(parts, cv2.MORPH_CLOSE, self._join)
        figures: Bitmap = np.zeros_like(dense)
        found, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        outlines = [np.asarray(each, np.int32) for each in found]
        cv2.drawContours(figures, outlines, -1, (255,), cv2.FILLED)
        return figures, outlines

    def _dense(self, bitmap: Bitmap, coarse_size: tuple[int, int]) -> Bitmap:
        """Where much of a bitmap is set, at half its size: width and height."""
        coarse = cv2.resize(bitmap, coarse_size, interpolation=cv2.INTER_AREA)
        density = cv2.blur(coarse, _NEIGHBOURHOOD)
        return above(np.asarray(density, np.uint8), 255 * _DENSE)

    def _trail(self, since_s: float) -> Bitmap:
        """Where somebody was, and may still be."""
        seen = self._seen_s >= np.float32(since_s - _TRAIL_S)
        recent: Bitmap = np.uint8(255) * seen.view(np.uint8)
        trail: Bitmap = np.zeros_like(self._hidden)
        x, y, wide, high = cv2.boundingRect(recent)
        if wide:
            box = slice(y, y + high), slice(x, x + wide)
            rows, columns = (
                slice(_COARSE * of.start, min(_COARSE * of.stop, limit))
                for of, limit in zip(box, (self.size.height, self.size.width), strict=True)
            )
            doubtful = self._dense(self._background.doubtful((rows, columns)), (wide, high))
            trail[box] = cv2.bitwise_and(doubtful, recent[box])
        return trail

    def _hide_unknown(self) -> None:
        unknown = cv2.resize(self.unknown, self._coarse, interpolation=cv2.INTER_AREA)
        self._hidden = above(np.asarray(unknown, np.uint8), 0)

    def _come(self, outlines: list[Outline], figures: Bitmap) -> Bitmap | None:
        """Those figures that came with the last frame."""
        if len(self._before) < _PAST:
            return None
        earlier, last = self._before
        come: list[Outline] = []
        for outline in outlines:
            x, y, wide, high = cv2.boundingRect(outline)
            box = slice(y, y + high), slice(x, x + wide)
            figure = figures[box]
            if not (figure & earlier[box]).any() and (figure & last[box]).any():
                come.append(outline)
        if not come:
            return None
        drawn: Bitmap = np.zeros_like(figures)
        cv2.drawContours(drawn, come, -1, (255,), cv2.FILLED)
        return self._widened(drawn)

    def _widened(self, bitmap: cv2.typing.MatLike) -> Bitmap:
        """With the margin around it: an octagon, for a square reaches too far aslant."""
        straight = self._margin // 3
        widened = cv2.dilate(bitmap, _square(self._margin - straight))
        return np.asarray(cv2.dilate(widened, _CROSS, iterations=straight), np.uint8)

    def _enlarged(self, bitmap: Bitmap) -> Bitmap:
        size = (self.size.width, self.size.height)
        return np.asarray(cv2.resize(bitmap, size, interpolation=cv2.INTER_NEAREST), np.uint8)

    def _large(self, dense: Bitmap) -> list[Outline]:
        outlines, _ = cv2.findContours(dense, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        large = [each for each in outlines if cv2.contourArea(each) >= self._smallest]
        return [np.asarray(each, np.int32) for each in large]


def cover_coming(earlier: Iterable[Found], latest: Found) -> None:
    """Mask whoever came with the latest frame in the frames before it too, as far as they wait."""
    if latest.come is None:
        return
    for found in earlier:
        if latest.time_s - _COMES_S <= found.time_s < latest.time_s:
            cv2.bitwise_or(found.masked, latest.come, dst=found.masked)


def _square(reach: int) -> Bitmap:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


_CROSS: Final = np.asarray(cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), np.uint8)
