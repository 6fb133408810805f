"""Everything that decides a training run, as one value that is stored with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from faceblur_training.augmentation.config import AugmentConfig
from faceblur_training.loop.losses import Gains
from faceblur_training.loop.schedule import Schedule


@dataclass(frozen=True)
class Settings:
    """A training run.

    Attributes:
        variant: Name of the network.
        schedule: Learning rate and length.
        augment: Strength of the augmentation; its side is replaced by one of `sides`.
        gains: Balance of the losses.
        batch: Samples per step.
        sides: One is drawn per step (multi-scale), pixels, multiples of the largest stride.
        validate_at: Longest side of the images in validations, pixels.
        seed: Decides initial weights and all samples.
        hint_gain: Weight of the comparison of stages with the teacher.
        undamaged_teacher: The teacher sees the samples before their damage, so that the student
            learns to see through what blinds its teacher.
        forced_steps: Steps in which the student's stages start from the teacher's maps.
        clip: Largest norm of the gradient.
        slices: Threads on a CPU, each with a part of the batch.
        compile: Let `torch.compile` fuse the networks: for long runs on a GPU, minutes to start.
        record: On a GPU, record each kind of step once and play it again, which saves the starting
            of its kernels. It has not worked on a GPU yet.
        half: Mixed precision (bfloat16 on a CPU).
        average: Part of the averaged weights kept per step.
        momentum: Part of the statistics of normalisations that a step replaces.
    """

    variant: str
    schedule: Schedule
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    gains: Gains = field(default_factory=Gains)
    batch: int = 16
    sides: tuple[int, ...] = (320, 384, 448)
    validate_at: int = 640
    seed: int = 0
    hint_gain: float = 1.0
    undamaged_teacher: bool = False
    forced_steps: int = 0
    clip: float = 10.0
    slices: int = 2
    compile: bool = False
    record: bool = False
    half: bool = True
    average: float = 0.998
    momentum: float = 0.03
