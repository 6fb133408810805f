"""Which faces are masked in a finished video, by their size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import av
import click
import numpy as np

from benchmarks.coverage.labels import Boxes, agree, detect, ellipse
from benchmarks.coverage.score import MIN_MASKED, is_marked
from faceblur.boxes import box_iou
from faceblur.detection.detector import Detector
from faceblur.detection.options import DEFAULT_SIZE
from faceblur.image.pixels import BgrImage

SIZES: Final = (800, 960, 1280)
"""Network sizes of the passes that make the labels, each plain and mirrored."""

MIN_SCORE: Final = 0.4
"""Well above any default: lower, whatever is no face would count as one that was missed."""

MIN_AGREEING: Final = len(SIZES) + 1
"""Passes that have to agree on a face: more than half."""

BINS: Final = ((8, 16), (16, 24), (24, 48), (48, 9_999))
"""Heights of faces, in pixels of a frame that is as wide as the model input."""

MIN_JUDGED: Final = 16
"""In bins from this height on, no fewer faces may be masked than by the other program."""

Labels = Mapping[int, Boxes]
"""By frame number, (N, 4) boxes of the faces there; frames that were not checked are left out."""


def bin_name(low: int, high: int) -> str:
    """For a table."""
    return f"{low} px and more" if high == BINS[-1][1] else f"{low}-{high} px"


@dataclass
class Masked:
    """What a program masked of one video.

    Attributes:
        faces: Faces in all labelled frames, by the lower end of their bin.
        leaked: Those of them that leaked.
    """

    faces: Counter[int] = field(default_factory=Counter)
    leaked: Counter[int] = field(default_factory=Counter)

    def add(self, image: BgrImage, boxes: Boxes) -> None:
        """Look at the next frame, BGR, whose masks have the colour `MARK`."""
        marked = is_marked(image)
        scale = DEFAULT_SIZE / image.shape[1]
        for box in boxes:
            height = float(box[3] - box[1]) * scale
            low = next((low for low, high in BINS if low <= height < high), None)
            left, top = max(0, int(box[0])), max(0, int(box[1]))
            # Of many small faces in a large frame, only what is around each.
            around = marked[top : math.ceil(box[3]), left : math.ceil(box[2])]
            shape = ellipse(box - np.array((left, top) * 2, box.dtype), around.shape)
            if low is None or not shape.any():
                continue
            self.faces[low] += 1
            self.leaked[low] += bool(around[shape].mean() < MIN_MASKED)

    def masked(self, low: int) -> int:
        """How many faces of a bin did not leak."""
        return self.faces[low] - self.leaked[low]


def label(clip: Path, judge: Detector, *, every: int) -> dict[int, Boxes]:
    """Pseudo-labels: faces that most passes of a detector agree on, at large network sizes.

    One that is in no frame labelled before or after counts as none: a face stays a tenth of a
    second, and what does not is mostly a pattern.

    Args:
        clip: The video, not masked.
        judge: The detector.
        every: Look at one frame of so many.
    """
    found = {
        index: agree(
            [
                detect(judge, image, size=size, flip=flip, min_score=MIN_SCORE)
                for size in SIZES
                for flip in (False, True)
            ],
            at_least=MIN_AGREEING,
        )
        for index, image in _chosen(clip, lambda number: number % every == 0)
    }
    return lasting(found, every=every)


def lasting(labels: Labels, *, every: int) -> dict[int, Boxes]:
    """The faces that overlap one in the labelled frame before theirs, or in the one after."""
    kept = {}
    for index, boxes in labels.items():
        near = [labels[i] for i in (index - every, index + every) if i in labels]
        others = np.concatenate([np.zeros((0, 4), np.float32), *near])
        kept[index] = boxes[(box_iou(boxes, others) > 0).any(axis=1)]
    return kept


def score(video: Path, labels: Labels, *, frames: int) -> Masked:
    """Look at the pixels of a masked video.

    Args:
        video: What a program made; its masks have the colour `MARK`.
        labels: Where the faces are.
        frames: How many frames it must have.

    Raises:
        click.ClickException: It has more or fewer: labels would not belong to its frames.
    """
    result = Masked()
    for index, image in _chosen(video, labels.__contains__, expected=frames):
        result.add(image, labels[index])
    return result


def total(results: Iterable[Masked]) -> Masked:
    """Several videos together."""
    whole = Masked()
    for result in results:
        whole.faces += result.faces
        whole.leaked += result.leaked
    return whole


def fewer(ours: Masked, other: Masked, *, least: int = MIN_JUDGED) -> Sequence[str]:
    """The bins in which fewer faces were masked than by another program."""
    return [
        bin_name(low, high)
        for low, high in BINS
        if low >= least and ours.masked(low) < other.masked(low)
    ]


def _chosen(
    video: Path, wanted: Callable[[int], bool], *, expected: int | None = None
) -> Iterator[tuple[int, BgrImage]]:
    count = 0
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            if wanted(count):
                yield count, np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            count += 1
    if expected is not None and count != expected:
        raise click.ClickException(f"{video.name} has {count} frames instead of {expected}")
