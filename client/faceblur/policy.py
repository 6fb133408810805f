"""What counts as a face and how it is covered: one value for every command."""

from __future__ import annotations

from dataclasses import dataclass, field

from faceblur.defaults import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.errors import InputError
from faceblur.masks import MaskStyle


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Settings of a run.

    Attributes:
        threshold: Lowest score that counts as a face, 0-1.
        size: Longest side of the picture given to the network, pixels.
        mask: What covers a face.
    """

    threshold: float = DEFAULT_THRESHOLD
    size: int = DEFAULT_SIZE
    mask: MaskStyle = field(default_factory=MaskStyle)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.threshold < 1:
            raise InputError(
                f"a threshold of {self.threshold:g} makes no sense; give one between 0 and 1"
            )
