"""Everything that can be set about one camera, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from faceblur.errors import InputError
from faceblur.live.sinks.options import SinkOptions, repeated_sink
from faceblur.live.sources.options import SourceOptions
from faceblur.masks.policy import Policy
from faceblur.tracking import TrackingOptions
from faceblur.tracking.live import LIVE_OPTIONS
from faceblur.video.options import HardwareDecoding

OnFailure = Literal["placeholder", "hold"]
Audio = Literal["drop", "keep"]

MAX_LOOKAHEAD = 30
DEFAULT_LOOKAHEAD = 5
"""Frames. `perf/run moment` measures what shows with fewer and with more."""
MAX_DETECT_EVERY = 30


@dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """One camera: a source, what is done to its frames, and where they go.

    Attributes:
        name: Unique among the cameras of a process; in logs, metrics and on placeholders.
        source: Where frames come from.
        sinks: Where masked frames go; at least one.
        policy: What counts as a face and how it is covered. Its cover is for files: `cover` counts
            here.
        fps: Frames per second that are processed, at most; all when None.
        detect_every: The detector is asked about every so many frames; faces are followed
            between them.
        lookahead: Frames by which the output lags behind, so that faces are masked also in the
            frames before they were first found; see `lookahead_s`.
        deadline_s: Seconds from a frame's arrival to the detector's answer. A frame without an
            answer by then is not shown.
        cover: How long faces stay masked that the detector lost. `detect_every` and the
            look-ahead of the camera count, not those in here.
        on_failure: What is shown in place of frames that could not be checked: a flat image
            with a notice, or the last checked and masked frame.
        audio: Whether the camera's audio goes along, in sinks that have a place for it. Voices are
            not masked.
        hardware_decoding: What decodes; the CPU, with a warning, where a device cannot.
    """

    name: str
    source: SourceOptions
    sinks: tuple[SinkOptions, ...]
    policy: Policy = field(default_factory=Policy)
    fps: float | None = None
    detect_every: int = 1
    lookahead: int = DEFAULT_LOOKAHEAD
    deadline_s: float = 1.0
    cover: TrackingOptions = LIVE_OPTIONS
    on_failure: OnFailure = "placeholder"
    audio: Audio = "drop"
    hardware_decoding: HardwareDecoding = "off"

    def lookahead_s(self, fps: float) -> float:
        """What the look-ahead adds to the delay of each frame at so many frames a second."""
        frames = max(int(self.cover.ahead_s * fps + 1e-3), self.detect_every - 1)
        return min(self.lookahead, frames) / fps

    def __post_init__(self) -> None:
        """Check the ranges; an `InputError` says which setting is invalid."""
        if not self.name or not self.name.isprintable():
            raise InputError("a camera needs a name of printable characters")
        if not self.sinks:
            raise InputError(f"camera {self.name} has nowhere to send its frames: name a sink")
        if twice := repeated_sink(self.sinks):
            raise InputError(f"camera {self.name} has {twice} twice: name each sink once")
        if self.fps is not None and not 0 < self.fps <= 240:
            raise InputError(f"camera {self.name} cannot run at {self.fps:g} fps: use up to 240")
        if not 1 <= self.detect_every <= MAX_DETECT_EVERY:
            raise InputError(
                f"camera {self.name} cannot detect on every {self.detect_every} frames: use 1 to "
                f"{MAX_DETECT_EVERY}"
            )
        if not 0 <= self.lookahead <= MAX_LOOKAHEAD:
            raise InputError(
                f"camera {self.name} cannot look ahead by {self.lookahead} frames: use 0 to "
                f"{MAX_LOOKAHEAD}"
            )
        if not 0 < self.deadline_s <= 60:
            raise InputError(
                f"camera {self.name} cannot have a deadline of {self.deadline_s:g} s: use up to 60"
            )
        if self.policy.spans or any(zone.time is not None for zone in self.policy.zones):
            raise InputError(
                f"camera {self.name} has no start to count time from: use zones without times"
            )
        for name, allowed in (
            ("on_failure", get_args(OnFailure)),
            ("audio", get_args(Audio)),
            ("hardware_decoding", get_args(HardwareDecoding)),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(
                    f"{name} of camera {self.name} cannot be {value!r}: use {', '.join(allowed)}"
                )
