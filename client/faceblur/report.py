"""What was found in a picture or a video."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, overload

import numpy as np

from faceblur.detections import ROW_WIDTH, Detections

PIXEL_DIGITS = 2
SCORE_DIGITS = 4
TIME_DIGITS = 6


@dataclass(frozen=True, eq=False)
class FrameReport:
    """What was found in one frame, or on one page of a picture.

    Attributes:
        index: Counted from 0.
        pts_s: When it is shown, in seconds; 0 for a still picture.
        detections: The faces, in pixels of the upright frame.
    """

    index: int
    pts_s: Fraction | float
    detections: Detections

    def to_json(self) -> dict[str, Any]:
        """The frame as in the JSON file: pixels to 1/100, scores to 1/10000, times to 1 µs."""
        faces = self.detections
        return {
            "index": self.index,
            "pts_s": round(float(self.pts_s), TIME_DIGITS),
            "faces": [
                {
                    "box": _rounded(box, PIXEL_DIGITS),
                    "score": round(float(score), SCORE_DIGITS),
                    "landmarks": [_rounded(point, PIXEL_DIGITS) for point in points],
                }
                for box, score, points in zip(
                    faces.boxes, faces.scores, faces.landmarks, strict=True
                )
            ],
        }


@dataclass(frozen=True, eq=False)
class MediaReport:
    """What was found in one file.

    Attributes:
        path: The source.
        width: Of the upright picture, pixels.
        height: Of the upright picture, pixels.
        frames: Every frame that was checked, in order.
        left_out: What of the source is not in the result though one might expect it, and why.
    """

    path: Path
    width: int
    height: int
    frames: Sequence[FrameReport]
    left_out: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The file as in the JSON file."""
        return {
            "path": str(self.path),
            "width": self.width,
            "height": self.height,
            "frames": [frame.to_json() for frame in self.frames],
        }


OnComplete = Callable[[Path, MediaReport], None]
"""Called with a result that is complete under its temporary name, and with what was found in it,
just before it gets its own name. What it raises is passed on, and the result does not appear."""


def completion(
    on_complete: OnComplete | None, report: MediaReport
) -> Callable[[Path], None] | None:
    """What `faceblur.atomic.atomic_path` calls before it commits a result."""
    if on_complete is None:
        return None
    return lambda temporary: on_complete(temporary, report)


class FrameLog(Sequence[FrameReport]):
    """The frames of a long video in little memory: about 20 bytes each, and 60 for each face."""

    def __init__(self) -> None:
        self._numerators = array("q")
        self._denominators = array("q")
        self._ends = array("q", [0])
        self._rows = array("f")

    def append(self, pts_s: Fraction, detections: Detections) -> None:
        """Add the next frame."""
        self._numerators.append(pts_s.numerator)
        self._denominators.append(pts_s.denominator)
        self._rows.frombytes(np.ascontiguousarray(detections.rows(), np.float32).tobytes())
        self._ends.append(len(self._rows))

    def __len__(self) -> int:
        return len(self._numerators)

    @overload
    def __getitem__(self, index: int) -> FrameReport: ...

    @overload
    def __getitem__(self, index: slice) -> list[FrameReport]: ...

    def __getitem__(self, index: int | slice) -> FrameReport | list[FrameReport]:
        """A frame, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        pts_s = Fraction(self._numerators[index], self._denominators[index])
        rows = np.array(self._rows[self._ends[index] : self._ends[index + 1]], np.float32)
        return FrameReport(index, pts_s, Detections.from_rows(rows.reshape(-1, ROW_WIDTH)))


def _rounded(values: Any, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
