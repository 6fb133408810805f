"""Faces on their ways, what of them is masked, and what shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from faceblur.detections import Detections, FloatArray
from faceblur.masks.style import MaskStyle
from faceblur.tracking import TrackingOptions, fill_gaps
from faceblur.tracking.scene_cuts import thumbnail

RATE = 30
SLOW = 5
"""Frames a second of a camera whose every second frame is detected."""
THRESHOLD = 0.2

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Path:
    """A face on a straight way, or on one that bends."""

    start: tuple[float, float] = (100.0, 100.0)
    step: tuple[float, float] = (3.0, -1.0)
    bend: float = 0.0
    size: float = 60.0

    def box(self, i: int) -> Box:
        x = self.start[0] + self.step[0] * i + self.bend * i * i
        y = self.start[1] + self.step[1] * i
        return x - self.size / 2, y - self.size * 0.6, x + self.size / 2, y + self.size * 0.6


def faces(*boxes: Box, score: float = 0.9) -> Detections:
    rows = [[*box, score, *[(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] * 5] for box in boxes]
    return Detections.from_rows(np.array(rows, np.float32))


def detections(path: Path, count: int, *, missed: Iterable[int] = ()) -> list[Detections]:
    lost = set(missed)
    return [Detections.empty() if i in lost else faces(path.box(i)) for i in range(count)]


def covered(
    found: Sequence[Detections | None],
    options: TrackingOptions | None = None,
    *,
    scenes: Sequence[int] | None = None,
) -> list[Detections]:
    """What is masked in each frame; frames are their numbers."""
    looks = None if scenes is None else lambda i: scene(scenes[i])
    out = list(
        fill_gaps(
            enumerate(found),
            options=options or TrackingOptions(),
            threshold=THRESHOLD,
            time_s=lambda i: i / RATE,
            thumbnail=looks,
        )
    )
    assert [number for number, _ in out] == list(range(len(found)))
    return [masked for _, masked in out]


def scene(number: int) -> FloatArray:
    """A thumbnail; other numbers look entirely different."""
    random = np.random.default_rng(number)
    return thumbnail(random.integers(0, 256, (9, 16), np.uint8).repeat(40, 0).repeat(40, 1))


def hides(masked: Detections, box: Box) -> bool:
    """Whether one mask covers a face wholly, with what masks are expanded by."""
    grow = MaskStyle().expand * (masked.boxes[:, 2:] - masked.boxes[:, :2])
    low, high = masked.boxes[:, :2] - grow, masked.boxes[:, 2:] + grow
    return bool(((low <= box[:2]).all(1) & (high >= box[2:]).all(1)).any())


def leaks(masked: Sequence[Detections], path: Path) -> list[int]:
    return [i for i, m in enumerate(masked) if not hides(m, path.box(i))]
