"""What boxes have in common: areas, and shares of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]


def box_overlap(
    first: npt.ArrayLike, second: npt.ArrayLike, *, pixel: float = 0.0
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """What every pair of boxes has in common.

    Args:
        first: (N, 4) boxes x1 y1 x2 y2.
        second: (M, 4) boxes, in the same frame.
        pixel: Added to every width and height: 0 for continuous coordinates, 1 where x2 and y2
            name the last pixel inside, as in the protocol of WIDER FACE.

    Returns:
        The (N, M) areas in common, and the areas (N, 1) of the first and (1, M) of the second.
    """
    a = np.asarray(first, np.float64).reshape(-1, 1, 4)
    b = np.asarray(second, np.float64).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + pixel
    of_a, of_b = (np.clip(box[..., 2:] - box[..., :2] + pixel, 0, None).prod(-1) for box in (a, b))
    return np.clip(sides, 0, None).prod(-1), of_a, of_b


def box_iou(first: npt.ArrayLike, second: npt.ArrayLike, *, pixel: float = 0.0) -> Float64Array:
    """Intersection over union of every pair of boxes (N, 4) and (M, 4), as for `box_overlap`.

    Returns:
        (N, M), 0-1; 0 where both boxes are empty.
    """
    shared, of_a, of_b = box_overlap(first, second, pixel=pixel)
    union = of_a + of_b - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
