"""Find images that two data sets share, whatever their size, compression or side.

An image is told by whether each of 16 × 16 parts of it is darker than its right neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from faceblur_export.data.image_files import RgbImage, open_image

HASH_SIDE = 16

MOST_DIFFERING = 50
"""Bits of the 256 in which copies of one image may differ; others differ in about half."""


def duplicates(images: Sequence[Path], others: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pairs of an image and one of the others that show the same, mirrored or not.

    Raises:
        InputError: An image cannot be opened.
    """
    pixels = [open_image(path) for path in others]
    # One row of signs each: the product of two counts the parts alike less those that differ.
    theirs = np.stack([_signs(image[:, ::side]) for side in (1, -1) for image in pixels])
    pairs = []
    for path in images:
        differing = (theirs.shape[1] - theirs @ _signs(open_image(path))) / 2
        best = int(differing.argmin())
        if differing[best] <= MOST_DIFFERING:
            pairs.append((path, others[best % len(others)]))
    return pairs


def _signs(image: RgbImage) -> npt.NDArray[np.float32]:
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA).astype(int)
    return np.where(small[:, 1:] > small[:, :-1], 1, -1).astype(np.float32).ravel()
