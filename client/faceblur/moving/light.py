"""How the light of a view changed, told from the view as a whole."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.float32]

GRID: Final = 8
"""Every so many pixels, across and down, the light is compared."""
_SHIFT: Final = 1.5
"""Levels by which the light must have changed to be followed."""
_MAX_SHIFT: Final = 40.0
_FULL_SHIFT: Final = 48.0
"""Levels from which on it shifts fully; black stays black."""
_FITS: Final = 0.6
"""Share of the view that must fit after the shift: else it is not the light that changed."""


def shift_of_light(before: Levels, after: Levels, *, same: float) -> Levels | None:
    """How each level has changed from one frame to another, as when a camera sets its exposure.

    Args:
        before: (N,) brightness of some pixels, levels 0-255.
        after: (N,) the same pixels later.
        same: Levels by which a pixel may differ after the shift and count as the same.

    Returns:
        (256,) what is to be added to each level of `before`; None where the light is the same, or
        where more changed than the light.
    """
    change = after - before
    if not len(change) or abs(float(np.median(change))) < _SHIFT:
        return None
    middle = np.median(before)
    halves = [before <= middle, before > middle]
    if not all(half.any() for half in halves):
        return None
    (x0, y0), (x1, y1) = ((np.median(before[h]), np.median(change[h])) for h in halves)
    slope = (y1 - y0) / max(x1 - x0, 1.0)
    levels = np.arange(256, dtype=np.float32)
    shift = y0 + slope * (np.clip(levels, x0, x1) - x0)
    shift *= np.minimum(levels / _FULL_SHIFT, 1)
    left = change - shift[before.astype(np.uint8)]
    if np.abs(shift).max() > _MAX_SHIFT or np.mean(np.abs(left) < same) < _FITS:
        return None
    return np.asarray(shift, np.float32)
