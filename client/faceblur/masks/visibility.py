"""Which faces can be seen beside all that is covered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from faceblur.detections import Detections
from faceblur.image.pixels import Plane
from faceblur.masks.polygons import BoolArray
from faceblur.masks.regions import Region

COVERED: Final = 0.9
"""A face is not seen where so much of it within the image is covered."""


def visible(faces: Detections, covered: Sequence[Region], width: int, height: int) -> BoolArray:
    """Say which of some faces can be seen, in full or in part.

    Args:
        faces: In pixels of the image.
        covered: What is drawn over.
        width: Of the image, pixels.
        height: Likewise.

    Returns:
        (N,) of the faces; one that lies outside the image is not seen.
    """
    image = Plane(np.broadcast_to(np.uint8(0), (height, width)))
    found = np.zeros(len(faces), np.bool_)
    for i, box in enumerate(faces.boxes.astype(np.float64)):
        left, top = np.maximum(np.floor(box[:2]), 0).astype(int).tolist()
        right, bottom = np.minimum(np.ceil(box[2:]), (width, height)).astype(int).tolist()
        rows, columns = np.mgrid[top : max(top, bottom), left : max(left, right)] + 0.5
        middle, half = (box[:2] + box[2:]) / 2, np.maximum((box[2:] - box[:2]) / 2, 0.5)
        face = np.hypot((columns - middle[0]) / half[0], (rows - middle[1]) / half[1]) <= 1
        bare = face.copy()
        for region in covered:
            x0, y0, x1, y1 = (
                max(left, region.x0), max(top, region.y0),
                min(right, region.x1), min(bottom, region.y1),
            )  # fmt: skip
            if x0 >= x1 or y0 >= y1:
                continue
            part = bare[y0 - top : y1 - top, x0 - left : x1 - left]
            cover = region.cover(image)
            if cover is None:
                part[:] = False
            else:
                # A soft edge lets something through.
                part &= cover[y0 - region.y0 : y1 - region.y0, x0 - region.x0 : x1 - region.x0] < 1
        found[i] = bare.sum() > (1 - COVERED) * face.sum()
    return found
