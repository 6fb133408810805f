"""Which pictures train, which are held out, and how often each comes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from faceblur_training.holdout import is_held_out
from faceblur_training.pack import Entry

FEWEST_HELD_OUT = 10
"""With fewer pictures than this to hold out, a validation would say nothing."""


def held_out(entries: Sequence[Entry]) -> npt.NDArray[np.bool_]:
    """The pictures of a pack that are kept for validation, by the rule of `holdout`.

    Returns:
        (len(entries),) bool; all false when there would be fewer than `FEWEST_HELD_OUT`.
    """
    chosen = np.asarray([is_held_out(PurePath(entry.name)) for entry in entries], np.bool_)
    return chosen if chosen.sum() >= FEWEST_HELD_OUT else np.zeros(len(entries), np.bool_)


def picture_weights(entries: Sequence[Entry]) -> npt.NDArray[np.float64]:
    """How often each picture comes: up to three times as often with many faces as with none."""
    faces = np.asarray([len(entry.faces) for entry in entries])
    return 0.5 + np.minimum(1.0, faces / 4)
