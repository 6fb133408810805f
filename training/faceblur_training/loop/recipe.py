"""The recipe: settings that follow from what there is to learn from."""

from __future__ import annotations

import dataclasses
from typing import Literal

from faceblur.detection.cores import usable_cores
from faceblur_training.augmentation.config import AugmentConfig
from faceblur_training.loop.schedule import ENDLESS, Schedule
from faceblur_training.loop.settings import Settings

Shape = Literal["cosine", "wsd"]


def settings_for(
    variant: str,
    *,
    steps: int = ENDLESS,
    minutes: float = 0.0,
    batch: int = 16,
    seed: int = 0,
    taught: bool = False,
    fresh: bool = True,
    shape: Shape = "cosine",
) -> Settings:
    """Settings for a run.

    Args:
        variant: Name of the network.
        steps: Length, in batches.
        minutes: Length by the clock, if any.
        batch: Samples per step.
        seed: Of weights and samples.
        taught: A teacher takes part: it sees the samples undamaged, what images leave empty is
            filled with copies of them, and the first steps compare the stages one by one.
        fresh: Weights start at random. Trained ones are moved more gently.
        shape: Of the learning rate.
    """
    rate = 4e-3 if fresh else 1e-3
    schedule = Schedule(
        rate,
        steps,
        warmup=min(100, max(1, steps // 10)),
        shape=shape,
        decay=steps // 5 if shape == "wsd" else 0,
        minutes=minutes,
    )
    slices = max(1, min(batch // 4, usable_cores()))
    settings = Settings(variant, schedule, batch=batch, seed=seed, slices=slices)
    if not taught:
        return settings
    return dataclasses.replace(
        settings,
        augment=AugmentConfig(repeat=0.85),
        undamaged_teacher=True,
        forced_steps=min(250 if minutes else 600, steps // 10) if fresh else 0,
    )
