"""How far masks reach beyond the frames in which a face was found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from faceblur.errors import InputError

BUFFER_BYTES: Final = 512 * 1024 * 1024
"""Memory that the frames held back may take."""

MAX_DETECTION_GAP_S: Final = 0.5
"""Detections further apart do not ensure that people walking past are masked in between: at
2 m/s somebody goes six widths of their face in that time, as far as two sightings are joined."""

_TRACK_SHARE: Final = 0.5
_DOUBT: Final = 0.3
"""Evidence that is good for nothing: false detections have it, too."""


@dataclass(frozen=True, kw_only=True)
class TrackingOptions:
    """Settings of the cover over time.

    Attributes:
        lead_s: A face is masked for so long before it was first found, seconds.
        hold_s: A face is masked for so long after it was last found, seconds.
        gap_s: A face that comes back after at most so long is masked in between, seconds.
        trust_s: Seconds of `lead_s` and `hold_s` that each of the few detections next to them is
            good for, times the square of its score, times `detect_every`; where detections are
            rarer than some 24 a second, the time of four of them. What is likely false, with few
            detections or low scores, does not stay at all.
        track_threshold: Lowest score that keeps a face masked which is, or soon will be, above
            the threshold; half the threshold when None.
        detect_every: The detector is asked about every so many frames.
        max_frames: Frames held back, at most, whatever the other settings ask for.
    """

    lead_s: float = 0.5
    hold_s: float = 0.5
    gap_s: float = 1.0
    trust_s: float = 0.17
    track_threshold: float | None = None
    detect_every: int = 1
    max_frames: int = 128

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InputError: A setting is invalid.
        """
        for name in ("lead_s", "hold_s", "gap_s", "trust_s"):
            value = getattr(self, name)
            if not 0 <= value <= 60:
                raise InputError(f"{name} cannot be {value:g} seconds: use 0 to 60")
        if self.track_threshold is not None and not 0 < self.track_threshold < 1:
            raise InputError(
                f"a track threshold of {self.track_threshold:g} cannot be used; give one between "
                "0 and 1"
            )
        if self.detect_every < 1:
            raise InputError(f"cannot detect on every {self.detect_every} frames: use 1 or more")
        if self.max_frames < 1:
            raise InputError(f"cannot hold back {self.max_frames} frames: use 1 or more")

    @property
    def ahead_s(self) -> float:
        """How far ahead of a frame its masks may depend on what is found, seconds."""
        return max(self.gap_s, self.lead_s)

    def min_score(self, threshold: float) -> float:
        """The score to ask the detector for, when `threshold` is what counts as a face."""
        wanted = self.track_threshold
        return min(threshold, threshold * _TRACK_SHARE if wanted is None else wanted)

    def extent_s(self, limit_s: float, evidence: float, *, least_trust_s: float = 0.0) -> float:
        """How far a face reaches, at most `limit_s`, by its `Track.evidence`.

        `least_trust_s` is what a detection is good for at least, as `trust_s` by itself.
        """
        sure = max(0.0, evidence - _DOUBT)
        return min(limit_s, max(self.trust_s * self.detect_every, least_trust_s) * sure)

    def within(self, frame_bytes: int, *, budget: int = BUFFER_BYTES) -> TrackingOptions:
        """The same, with no more frames held back than fit into a budget of memory."""
        fitting = max(1, budget // max(1, frame_bytes))
        return replace(self, max_frames=min(self.max_frames, fitting))


def too_far_apart(gap_s: float) -> str:
    """What to say of detections so far apart."""
    return (
        f"faces are detected every {gap_s:.2g} s only, and whoever walks past may show between; "
        f"use a lower detect_every or a higher fps, at most {MAX_DETECTION_GAP_S:g} s apart"
    )
