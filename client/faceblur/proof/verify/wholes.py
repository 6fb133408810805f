"""Judge images as a whole: do two of them show the same, and is there enough to be seen?"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
"""uint8 [H, W]: luma."""

_THUMBNAIL: Final = 64
_MIN_FREE: Final = 0.1
_PLAIN: Final = 2.0
_ALIKE: Final = 0.6

_SAME_LEVELS: Final = 4
_UNCHANGED: Final = 0.25
_BY_CHANCE: Final = 2.0
"""Part of the pixels that are the same in both: so many, and so much more often than pixels of
other places are."""

_STILL_LEVELS: Final = 4
"""More is another image: that of an animation is written without loss, but for its palette."""

_SAMPLED: Final = 400

_OVERVIEW: Final = 128
_NOTHING_LEVELS: Final = 4
_DIM_LEVELS: Final = 48
"""From the darkest to the brightest part of an image: less is nothing, and too little."""


def are_alike(source: Grey, output: Grey, taken: npt.NDArray[np.float32]) -> bool:
    """Whether two images show the same, outside the regions in question."""
    height, width = source.shape
    small = [
        cv2.resize(image, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
        for image in (source, output)
    ]
    free = np.ones((_THUMBNAIL, _THUMBNAIL), np.bool_)
    scale = _THUMBNAIL / np.array([width, height, width, height])
    for x1, y1, x2, y2 in np.clip(taken * scale, 0, _THUMBNAIL):
        free[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = False
    if free.mean() < _MIN_FREE:
        return True
    levels = [image[free].astype(np.float64) for image in small]
    a, b = (image - image.mean() for image in levels)
    plain = min(a.std(), b.std()) < _PLAIN
    correlation = (a @ b) / max(np.sqrt((a @ a) * (b @ b)), 1e-6)
    return bool(plain or correlation >= _ALIKE or _is_unchanged(*levels))


def stands_still(before: Grey, now: Grey, boxes: npt.NDArray[np.float32]) -> bool:
    """Whether an image shows just what one before it did, outside of boxes."""
    if before.shape != now.shape:
        return False
    changed = cv2.absdiff(before, now) > _STILL_LEVELS
    height, width = now.shape
    for x1, y1, x2, y2 in np.clip(boxes, 0, [width, height, width, height]):
        changed[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = False
    return not changed.any()


def is_dim(grey: Grey) -> bool:
    """Whether an image shows something, but so dark or flat that a detector misses faces in it.

    What is all of one brightness, such as the black between two scenes, shows nothing at all.
    """
    side = max(grey.shape)
    small = grey
    if side > _OVERVIEW:
        size = tuple(max(1, round(length * _OVERVIEW / side)) for length in grey.shape[::-1])
        small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    levels = int(small.max()) - int(small.min())
    return _NOTHING_LEVELS <= levels < _DIM_LEVELS


def _is_unchanged(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> bool:
    """Whether many pixels of two lists are the same, place by place, and not by chance.

    Beside a face that fills the image, much of what is around it is under its mask.
    """
    same = float((np.abs(a - b) <= _SAME_LEVELS).mean())
    step = max(1, len(a) // _SAMPLED)
    anywhere = np.abs(np.subtract.outer(a[::step], b[::step])) <= _SAME_LEVELS
    return same >= max(_UNCHANGED, _BY_CHANCE * float(anywhere.mean()))
