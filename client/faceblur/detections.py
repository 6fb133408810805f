"""The one value that carries faces between the parts of the program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

ROW_WIDTH = 15
"""Columns of a face row: x1 y1 x2 y2 score and five landmarks (x, y)."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Faces found in one picture, best score first when they come from the detector.

    Attributes:
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels; x to the right, y down, origin at the
            top left corner of the top left pixel.
        scores: (N,) float32 in 0–1, objectness × class probability.
        landmarks: (N, 5, 2) float32, x y of left eye, right eye, nose, left and right mouth
            corner, as seen in the picture, same frame as the boxes.
    """

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray

    def __post_init__(self) -> None:
        """Check that the three arrays describe the same faces."""
        n = len(self.boxes)
        shapes = (self.boxes.shape, self.scores.shape, self.landmarks.shape)
        if shapes != ((n, 4), (n,), (n, 5, 2)):
            raise ValueError(f"arrays of {shapes} do not describe the same faces")

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def empty(cls) -> Detections:
        """No faces."""
        return cls.from_rows(np.zeros((0, ROW_WIDTH), np.float32))

    @classmethod
    def from_rows(cls, rows: npt.ArrayLike) -> Detections:
        """Take faces from rows (N, 15): x1 y1 x2 y2 score, five landmarks."""
        table = np.asarray(rows, np.float32).reshape(-1, ROW_WIDTH)
        return cls(table[:, :4], table[:, 4], table[:, 5:].reshape(-1, 5, 2))

    def rows(self) -> FloatArray:
        """The faces as rows (N, 15), the inverse of `from_rows`."""
        n = len(self)
        return np.concatenate(
            [self.boxes, self.scores[:, None], self.landmarks.reshape(n, 10)], axis=1
        )

    def select(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.intp] | slice) -> Detections:
        """The faces that a mask, an index array or a slice picks."""
        return Detections(self.boxes[index], self.scores[index], self.landmarks[index])

    def mapped(self, *, scale: float, offset: tuple[float, float] = (0.0, 0.0)) -> Detections:
        """Move into another frame: p → p · scale + offset (offset is x, y)."""
        shift = np.asarray(offset, np.float32)
        factor = np.float32(scale)
        return Detections(
            self.boxes * factor + np.tile(shift, 2),
            self.scores,
            self.landmarks * factor + shift,
        )
