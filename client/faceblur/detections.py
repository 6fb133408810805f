"""The one value that carries faces between the parts of the program."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

PIXEL_DIGITS = 2
SCORE_DIGITS = 4
TIME_DIGITS = 6

DRAWN_SCORE = 1.0
"""Of a face that somebody drew, or listed without a score: it is one."""

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]

ROW_WIDTH = 15
"""Columns of a face row: x1 y1 x2 y2 score and five landmarks (x, y)."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Faces found in one image, best score first when they come from the detector.

    Attributes:
        boxes: (N, 4) float32, x1 y1 x2 y2 in pixels; x to the right, y down, origin at the
            top left corner of the top left pixel.
        scores: (N,) float32 in 0–1, objectness × class probability.
        landmarks: (N, 5, 2) float32, x y of left eye, right eye, nose, left and right mouth
            corner, as seen in the image, same frame as the boxes.
        tracks: (N,) int32, the track of the file that each face belongs to, from 1 on; 0 for
            none, as in images, live frames and what was drawn by hand.

    Example:
        >>> faces = faceblur.detect(frame)
        >>> sure = faces.select(faces.scores > 0.5)
        >>> len(sure), sure.landmarks.shape
        (1, (1, 5, 2))
    """

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray
    tracks: IntArray = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if not len(self.tracks):
            object.__setattr__(self, "tracks", np.zeros(n, np.int32))
        shapes = (self.boxes.shape, self.scores.shape, self.landmarks.shape, self.tracks.shape)
        if shapes != ((n, 4), (n,), (n, 5, 2), (n,)):
            raise ValueError(f"arrays of {shapes} do not describe the same faces")

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def empty(cls) -> Detections:
        """No faces."""
        return cls.from_rows(np.zeros((0, ROW_WIDTH), np.float32))

    @classmethod
    def from_rows(cls, rows: npt.ArrayLike, tracks: Sequence[int] | IntArray = ()) -> Detections:
        """Take faces from rows (N, 15): x1 y1 x2 y2 score, five landmarks; with their tracks."""
        table = np.asarray(rows, np.float32).reshape(-1, ROW_WIDTH)
        numbers = np.asarray(tracks, np.int32)
        return cls(table[:, :4], table[:, 4], table[:, 5:].reshape(-1, 5, 2), numbers)

    def rows(self) -> FloatArray:
        """The faces as rows (N, 15), the inverse of `from_rows`; without their tracks."""
        n = len(self)
        return np.concatenate(
            [self.boxes, self.scores[:, None], self.landmarks.reshape(n, 10)], axis=1
        )

    def select(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.intp] | slice) -> Detections:
        """The faces that a mask, an index array or a slice picks."""
        return Detections(
            self.boxes[index], self.scores[index], self.landmarks[index], self.tracks[index]
        )

    def joined(self, other: Detections) -> Detections:
        """These faces, and behind them others."""
        return Detections.from_rows(
            np.concatenate([self.rows(), other.rows()]),
            np.concatenate([self.tracks, other.tracks]),
        )

    def mapped(self, *, scale: float, offset: tuple[float, float] = (0.0, 0.0)) -> Detections:
        """Move into another frame: p → p · scale + offset (offset is x, y)."""
        shift = np.asarray(offset, np.float32)
        factor = np.float32(scale)
        return Detections(
            self.boxes * factor + np.tile(shift, 2),
            self.scores,
            self.landmarks * factor + shift,
            self.tracks,
        )


@dataclass(frozen=True, eq=False)
class FrameDetections:
    """What was found in one frame, or on one page of an image.

    Attributes:
        index: Counted from 0.
        pts_s: When it is shown, in seconds; 0 for a still image.
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
                    **({"track": int(track)} if track else {}),
                }
                for box, score, points, track in zip(
                    faces.boxes, faces.scores, faces.landmarks, faces.tracks, strict=True
                )
            ],
        }


@dataclass(frozen=True, kw_only=True)
class TrackSummary:
    """One face of a video, for as long as it is surely one and the same.

    Attributes:
        id: What faces of frames name as their track, from 1 on.
        first_s: Time of the first frame that it is in, seconds, as `pts_s` of frames.
        last_s: Of the last one.
        frames: Frames that it is in, those where it was filled in among them.
        largest_height: Of its box where it was found, pixels; 0 if it was filled in throughout.
        best_frame: Index of the frame in which its box is largest at a good score.
        steady: Spans, first and last time in seconds, in which it was found, and well, away from
            its ends. Somebody else may have been close.
        certain: The same without the times in which somebody was: nobody else can have been taken
            for it.
    """

    id: int
    first_s: float
    last_s: float
    frames: int
    largest_height: float
    best_frame: int
    steady: tuple[tuple[float, float], ...] = ()
    certain: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, eq=False)
class MediaDetections:
    """What was found in one file.

    Attributes:
        path: The source.
        width: Of the upright image, pixels.
        height: Of the upright image, pixels.
        frames: Every frame that was checked, in order.
        left_out: What of the source is not in the result though one might expect it, and why.
        notes: What somebody should look at in the result.
        devices: What decoded and encoded it where that was not the CPU, for people.
        tracks: Of a video, the tracks that its masked faces name, by their ids.
        kept: Ids of the tracks that somebody wants to be seen.
        unmasked: Where there are any, or something was removed by a correction, what was seen of
            them, frame by frame.
        covered: What would have been seen of them, but for what else was masked there, likewise.
        start_s: When the file's clock says that it starts, seconds.
        address: What a source in a store is called; the path is that of a copy, which is gone.
        sha256: Of that source, hexadecimal.

    Example:
        >>> report = faceblur.blur("photo.jpg", "safe.jpg")
        >>> report.width, report.height, len(report.frames)
        (512, 512, 1)
    """

    path: Path
    width: int
    height: int
    frames: Sequence[FrameDetections]
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    tracks: list[TrackSummary] = field(default_factory=list)
    kept: frozenset[int] = frozenset()
    unmasked: FrameDetectionsLog = field(default_factory=lambda: FrameDetectionsLog())
    covered: FrameDetectionsLog = field(default_factory=lambda: FrameDetectionsLog())
    start_s: Fraction = Fraction(0)
    address: str = ""
    sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """The file as in the JSON file."""
        return {
            "path": self.address or str(self.path),
            "width": self.width,
            "height": self.height,
            **({"start_s": round(float(self.start_s), TIME_DIGITS)} if self.start_s else {}),
            "tracks": [asdict(track) for track in self.tracks],
            "frames": [frame.to_json() for frame in self.frames],
        }


class FrameDetectionsLog(Sequence[FrameDetections]):
    """The frames of a long video in little memory: about 20 bytes each, and 64 for each face."""

    def __init__(self) -> None:
        self._numerators = array("q")
        self._denominators = array("q")
        self._ends = array("q", [0])
        self._rows = array("f")
        self._tracks = array("i")

    def append(self, pts_s: Fraction, detections: Detections) -> None:
        """Add the next frame."""
        self._numerators.append(pts_s.numerator)
        self._denominators.append(pts_s.denominator)
        self._rows.frombytes(np.ascontiguousarray(detections.rows(), np.float32).tobytes())
        self._tracks.extend(detections.tracks.tolist())
        self._ends.append(len(self._tracks))

    def columns(self) -> tuple[Float64Array, npt.NDArray[np.int64], FloatArray, IntArray]:
        """All faces at once.

        Returns:
            (F,) float64 times of the frames, seconds; and for each of the N faces (N,) int64
            position of its frame, (N, 15) float32 row, (N,) int32 track.
        """
        times = np.array(self._numerators, np.float64) / np.array(self._denominators, np.float64)
        frames = np.repeat(np.arange(len(self)), np.diff(np.array(self._ends, np.int64)))
        rows = np.array(self._rows, np.float32).reshape(-1, ROW_WIDTH)
        return times, frames, rows, np.array(self._tracks, np.int32)

    def time(self, index: int) -> Fraction:
        """When a frame is shown; quicker than the frame itself."""
        return Fraction(self._numerators[index], self._denominators[index])

    def rename_tracks(self, tracks: IntArray) -> None:
        """Give every face another track, in the order of `columns`."""
        if len(tracks) != len(self._tracks):
            raise ValueError(f"{len(tracks)} tracks are not for {len(self._tracks)} faces")
        self._tracks = array("i", tracks.tolist())

    def __len__(self) -> int:
        return len(self._numerators)

    @overload
    def __getitem__(self, index: int) -> FrameDetections: ...

    @overload
    def __getitem__(self, index: slice) -> list[FrameDetections]: ...

    def __getitem__(self, index: int | slice) -> FrameDetections | list[FrameDetections]:
        """A frame, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        pts_s = Fraction(self._numerators[index], self._denominators[index])
        start, end = self._ends[index], self._ends[index + 1]
        rows = np.array(self._rows[start * ROW_WIDTH : end * ROW_WIDTH], np.float32)
        faces = Detections.from_rows(rows, np.array(self._tracks[start:end], np.int32))
        return FrameDetections(index, pts_s, faces)


def _rounded(values: Any, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]
