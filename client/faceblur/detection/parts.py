"""Search each frame of a large video as a whole, and closely at a few of its parts in turn.

A face that is too small for the whole view shows in the part that it lies in, and is looked for
there every `PERIOD_S`; tracks carry it in between (`faceblur.tracking`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from faceblur.boxes import box_iou
from faceblur.detection.detector import ModelInput
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import Tiles
from faceblur.detection.tiling import View, merge, pays_off
from faceblur.detections import Detections, FloatArray

PERIOD_S: Final = 0.5
"""Time in which every part has its turn: as far apart as detections may be for people who walk."""

_REDUCTION: Final[dict[Tiles, float]] = {"auto": 1.65, "fine": 1.1}
"""Image pixels to a network pixel in a part; a 4K frame has 16 parts, or 49."""

_MOST: Final[dict[Tiles, int]] = {"auto": 32, "fine": 64}
"""Parts of one frame; beyond it they are made larger."""

_OVERLAP: Final = 20
"""What neighbouring parts share, in pixels of the whole view's model input: larger faces are for
the whole view to find."""

_GRID: Final = 4
"""Parts begin and end at multiples of it, where every kind of chroma plane has samples."""

_SAME_FACE_IOU: Final = 0.3
_CLOCK_S: Final = 1e-3


@dataclass(frozen=True)
class Part:
    """A part of a frame, and how it lies in a model input of the whole view's shape."""

    view: View
    letterbox: Letterbox


@dataclass(frozen=True, eq=False)
class PartDetections(Detections):
    """The faces of a frame of which some parts were searched closely.

    Attributes:
        searched: (K, 4) float32, those parts, x1 y1 x2 y2 in pixels of the frame.
        close: (N,) whether a part alone showed the face: until that part is searched again, not
            finding it says nothing.
    """

    _: KW_ONLY
    searched: FloatArray
    close: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PartPlan:
    """How the frames of one video are searched.

    Attributes:
        whole: How a frame lies in the model input.
        parts: What has its turn beside it; none where the whole view shows enough.

    Example:
        >>> plan = PartPlan.of(Letterbox.plan(3840, 2160), tiles="auto")
        >>> len(plan.parts), plan.parts[0].view
        (16, View(x=0, y=0, width=1056, height=632))
    """

    whole: Letterbox
    parts: tuple[Part, ...] = ()

    @property
    def input_bytes(self) -> int:
        """Of the model input of the whole or of a part."""
        return 3 * math.prod(self.whole.shape)

    @classmethod
    def of(cls, whole: Letterbox, *, tiles: Tiles) -> PartPlan:
        """Plan the parts: for `auto` where the whole view has less than a third of the pixels."""
        (width, height), resized = whole.source, whole.resized
        scale = (width / resized[0], height / resized[1])
        # Nobody is found in a line of a few pixels, and no part fits into it.
        if min(width, height) < _GRID or not pays_off(max(scale), tiles):
            return cls(whole)
        reduction = _REDUCTION[tiles]
        overlap = [_OVERLAP * each for each in scale]
        while True:
            zoom = max(scale) / reduction
            across, down = (
                min(length & -_GRID, int(pixels * each / zoom) & -_GRID)
                for length, pixels, each in zip(
                    (width, height), whole.shape[::-1], scale, strict=True
                )
            )
            columns = _starts(width, across, overlap[0])
            rows = _starts(height, down, overlap[1])
            if len(columns) * len(rows) <= _MOST[tiles]:
                break
            reduction *= 1.05
        fitted = (
            min(whole.shape[1], round(across * zoom / scale[0])),
            min(whole.shape[0], round(down * zoom / scale[1])),
        )
        left, top = ((whole.shape[1 - i] - fitted[i]) // 2 for i in (0, 1))
        box = Letterbox((across, down), whole.shape, fitted, left, top)
        views = (View(x, y, across, down) for y in rows for x in columns)
        return cls(whole, tuple(Part(view, box) for view in views))

    def merge(
        self, answers: Sequence[Detections], parts: Sequence[int], *, min_score: float
    ) -> Detections:
        """Put together what was found in one frame.

        Args:
            answers: For the whole view, then for each of the parts, in pixels of the model inputs.
            parts: Positions of the parts that were searched.
            min_score: Lowest score that counts, 0-1; what the detector was asked with.

        Returns:
            The faces in pixels of the frame.
        """
        faces = self.whole.to_source(answers[0])
        if not self.parts:
            return faces
        width, height = self.whole.source
        found = [(View(0, 0, width, height), faces)]
        for index, answer in zip(parts, answers[1:], strict=True):
            part = self.parts[index]
            offset = (part.view.x, part.view.y)
            found.append(
                (part.view, part.letterbox.to_source(answer).mapped(scale=1, offset=offset))
            )
        merged = merge(found, width=width, height=height, threshold=min_score)
        views = [self.parts[index].view for index in parts]
        searched = [(v.x, v.y, v.x + v.width, v.y + v.height) for v in views]
        also_whole = box_iou(merged.boxes, faces.boxes).max(axis=1, initial=0)
        return PartDetections(
            merged.boxes,
            merged.scores,
            merged.landmarks,
            searched=np.array(searched, np.float32).reshape(-1, 4),
            close=np.asarray(also_whole < _SAME_FACE_IOU, np.bool_),
        )


@dataclass(frozen=True, eq=False)
class CloseUps:
    """The parts of one frame that the detector is given.

    Attributes:
        plan: Of the video.
        parts: Their positions in the plan.
        inputs: Their model inputs.
    """

    plan: PartPlan
    parts: tuple[int, ...]
    inputs: tuple[ModelInput, ...]


class Rotation:
    """Says whose turn it is: that of the parts that were searched longest ago. For one thread.

    All of them have theirs within `PERIOD_S`, as far as `most` of them in a frame allow; the first
    frame shows as many as it may.
    """

    def __init__(self, count: int, *, most: int | None = None) -> None:
        self._most = count if most is None else most
        self._owed = float(count)
        self._seen_s = [-math.inf] * count
        self._last_s: float | None = None

    def take(self, time_s: float) -> tuple[int, ...]:
        """The positions of the parts for the next frame that is searched."""
        count = len(self._seen_s)
        if self._last_s is not None and count:
            interval_s = max(_CLOCK_S, time_s - self._last_s)
            self._owed += count / max(1, int((PERIOD_S + _CLOCK_S) / interval_s))
        self._last_s = time_s
        self._owed = min(self._owed, count)
        turns = min(self._most, int(self._owed + 1e-6))
        self._owed -= turns
        chosen = sorted(range(count), key=lambda index: (self._seen_s[index], index))[:turns]
        for index in chosen:
            self._seen_s[index] = time_s
        return tuple(chosen)

    def put_back(self, parts: Sequence[int]) -> None:
        """Nobody searched these: they are the next."""
        for index in parts:
            # Frames of another size, with other parts, may have come since.
            if index < len(self._seen_s):
                self._seen_s[index] = -math.inf


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where parts begin along one side of the frame, evenly spread."""
    if length - side < _GRID:
        return [0]
    overlap = min(overlap, side / 2)
    count = math.ceil((length - overlap) / (side - overlap))
    return [((length - side) * index // (count - 1)) & -_GRID for index in range(count)]
