"""What is masked and how: one value for every command."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from faceblur.detection.options import DetectionOptions
from faceblur.errors import InputError
from faceblur.masks.spans import Span
from faceblur.masks.style import MaskStyle
from faceblur.masks.zones import Zone
from faceblur.moving.options import MovingOptions
from faceblur.tracking import TrackingOptions


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Settings of a run: two runs with the same ones mask the same.

    Attributes:
        detection: How faces are detected. JSON has its settings beside
            the others, and no deadline: that decides nothing of the result.
        mask: What covers a face.
        min_face: Height of the lowest face that is masked, pixels of the image; 0 for all.
        zones: Parts of the image that are always masked, or in which faces are left alone.
        spans: Parts of a video that are hidden, or in which faces are left alone.
        cover: How far masks reach, in videos, beyond the frames in which a face was found; None
            to mask single frames alone.
        moving: Whether what moves is masked too, in videos and cameras whose view is fixed.

    Raises:
        InputError: A setting is out of its range.
    """

    inlined: ClassVar = {"detection": ("threshold", "size", "tiles")}
    detection: DetectionOptions = field(default_factory=DetectionOptions)
    min_face: float = 0.0
    mask: MaskStyle = field(default_factory=MaskStyle)
    zones: tuple[Zone, ...] = ()
    spans: tuple[Span, ...] = ()
    cover: TrackingOptions | None = field(default_factory=TrackingOptions)
    moving: MovingOptions = field(default_factory=MovingOptions)

    def __post_init__(self) -> None:
        """Check the range."""
        if not (self.min_face >= 0 and math.isfinite(self.min_face)):
            raise InputError(
                f"faces cannot be {self.min_face:g} pixels high at least; give 0 or more"
            )

    @property
    def is_timed(self) -> bool:
        """Whether anything depends on when a frame is shown."""
        return bool(self.spans) or any(zone.time is not None for zone in self.zones)
