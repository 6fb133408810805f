"""What is masked and how: one value for every command."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, get_args

from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD, LARGEST_SIZE
from faceblur.detection.tiling import Tiles
from faceblur.errors import InputError
from faceblur.masks.spans import Span
from faceblur.masks.style import MaskStyle
from faceblur.masks.zones import Zone
from faceblur.schema import JsonObject
from faceblur.tracking import TrackingOptions

_TILES = ", ".join(get_args(Tiles))


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Settings of a run: two runs with the same ones mask the same.

    Attributes:
        threshold: Lowest score that counts as a face, 0-1.
        size: Longest side of the picture given to the network, pixels.
        tiles: Whether large pictures are looked at in parts too: "auto", "fine" or "off"; videos
            never are.
        mask: What covers a face.
        min_face: Height of the lowest face that is masked, pixels of the picture; 0 for all.
        zones: Parts of the picture that are always masked, or in which faces are left alone.
        spans: Parts of a video that are hidden, or in which faces are left alone.
        cover: How far masks reach, in videos, beyond the frames in which a face was found; None
            to mask single frames alone.

    Raises:
        InputError: A setting makes no sense.
    """

    threshold: float = DEFAULT_THRESHOLD
    size: int = DEFAULT_SIZE
    tiles: Tiles = "auto"
    mask: MaskStyle = field(default_factory=MaskStyle)
    min_face: float = 0.0
    zones: tuple[Zone, ...] = ()
    spans: tuple[Span, ...] = ()
    cover: TrackingOptions | None = field(default_factory=TrackingOptions)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.threshold < 1:
            raise InputError(
                f"a threshold of {self.threshold:g} makes no sense; give one between 0 and 1"
            )
        if not 64 <= self.size <= LARGEST_SIZE:
            raise InputError(
                f"a network cannot be given {self.size} pixels a side; give 64 to {LARGEST_SIZE}"
            )
        if self.tiles not in get_args(Tiles):
            raise InputError(f"no way to tile is called {self.tiles!r}; give {_TILES}")
        if not (self.min_face >= 0 and math.isfinite(self.min_face)):
            raise InputError(
                f"faces cannot be {self.min_face:g} pixels high at least; give 0 or more"
            )

    @property
    def is_timed(self) -> bool:
        """Whether anything depends on when a frame is shown."""
        return bool(self.spans) or any(zone.time is not None for zone in self.zones)

    def to_json(self) -> dict[str, Any]:
        """Every setting, in values that JSON has; the same for equal policies.

        An overlay is named by its path and SHA-256.
        """
        return {
            "threshold": float(self.threshold),
            "size": self.size,
            "tiles": self.tiles,
            "min_face": float(self.min_face),
            "mask": self.mask.to_json(),
            "zones": [zone.to_json() for zone in self.zones],
            "spans": [span.to_json() for span in self.spans],
            "cover": None if self.cover is None else dataclasses.asdict(self.cover),
        }

    @classmethod
    def from_json(cls, value: object, where: str = "the policy") -> Policy:
        """The inverse of `to_json`; settings that are left out have their defaults.

        Args:
            value: As `json.loads` gives it.
            where: What to call it in errors.

        Raises:
            InputError: A setting is unknown or makes no sense, or the overlay picture is not
                there any more, or not the same.
        """
        read = JsonObject(value, where)
        settings: dict[str, Any] = {
            "threshold": read.number("threshold", DEFAULT_THRESHOLD),
            "size": read.whole("size", DEFAULT_SIZE),
            "tiles": read.text("tiles", "auto"),
            "min_face": read.number("min_face", 0.0),
            "zones": tuple(Zone.from_json(zone, at) for at, zone in read.values("zones", ())),
            "spans": tuple(Span.from_json(span, at) for at, span in read.values("spans", ())),
        }
        if "mask" in read:
            settings["mask"] = MaskStyle.from_json(read.any("mask"), f"the mask of {where}")
        if "cover" in read:
            settings["cover"] = _cover(read.any("cover"), f"the cover of {where}")
        read.finish()
        return cls(**settings)


def _cover(value: object, where: str) -> TrackingOptions | None:
    if value is None:
        return None
    read = JsonObject(value, where)
    settings: dict[str, Any] = {}
    for entry in dataclasses.fields(TrackingOptions):
        if entry.name not in read:
            continue
        if entry.default is None and read.any(entry.name) is None:
            settings[entry.name] = None
        elif isinstance(entry.default, int) and not isinstance(entry.default, bool):
            settings[entry.name] = read.whole(entry.name)
        else:
            settings[entry.name] = read.number(entry.name)
    read.finish()
    return TrackingOptions(**settings)
