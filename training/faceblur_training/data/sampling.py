"""Which images train, which are held out, and how often each comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from faceblur_training.data.holdout import is_held_out
from faceblur_training.data.pack import Entry

FEWEST_HELD_OUT = 10
"""With fewer images than this to hold out, a validation would say nothing."""


@dataclass(frozen=True, eq=False)
class Split:
    """Which images of a pack a run uses for what.

    Attributes:
        trained: (N,) bool.
        validated: (N,) bool; images that are held out by the rule of `holdout`, or trained ones
            when there are fewer than `FEWEST_HELD_OUT` of those.
    """

    trained: npt.NDArray[np.bool_]
    validated: npt.NDArray[np.bool_]


def split(entries: Sequence[Entry], *, taught: bool) -> Split:
    """Divide the images of a pack.

    With a teacher (`taught`) images without labels are worth something.
    """
    labelled = np.asarray([entry.labelled for entry in entries], np.bool_)
    seen = np.asarray([len(entry.faces) > 0 for entry in entries], np.bool_)
    usable = labelled | taught
    # Faces that nobody listed would count as false alarms, unless the teacher listed them.
    judged = labelled | (taught and bool((seen & ~labelled).any()))
    chosen = np.asarray([is_held_out(PurePath(entry.name)) for entry in entries], np.bool_)
    chosen &= judged
    if chosen.sum() < FEWEST_HELD_OUT:
        return Split(usable, usable & judged)
    return Split(usable & ~chosen, chosen)


def image_weights(entries: Sequence[Entry]) -> npt.NDArray[np.float64]:
    """How often each image comes: up to three times as often with many faces as with none."""
    faces = np.asarray([len(entry.faces) for entry in entries])
    return 0.5 + np.minimum(1.0, faces / 4)
