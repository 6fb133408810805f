"""How faces are detected: one value for every caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from faceblur.errors import InputError

DEFAULT_THRESHOLD: Final = 0.13
"""Lowest score (objectness × class) that counts as a face.

What `faceblur-train threshold --held-out` answers for the bundled model, where a missed face costs
ten times what an extra mask does, and doubt errs towards masking.
"""

DEFAULT_SIZE: Final = 640
"""Longest side, in pixels, of the image given to the network."""

MAX_SIDE: Final = 2048
"""Longest side, in pixels, of an image that a server takes unless it is told otherwise."""

LARGEST_SIZE: Final = 8192
"""The most that can be asked for at all: a square of that takes gigabytes."""

Tiles = Literal["auto", "fine", "off"]
"""Whether large images are detected in parts too: where that pays, in twice as many, or never."""


@dataclass(frozen=True, kw_only=True)
class DetectionOptions:
    """How the faces of an image are detected.

    Attributes:
        threshold: Lowest score that counts as a face, 0-1.
        size: Longest side of what is given to the network, pixels.
        tiles: Whether large images are detected in parts too; see `faceblur.detection.tiling`.
        deadline_s: Seconds to wait for the answer to each view, or to each frame of a video.

    Raises:
        InputError: A setting is out of its range.
    """

    threshold: float = DEFAULT_THRESHOLD
    size: int = DEFAULT_SIZE
    tiles: Tiles = "auto"
    deadline_s: float = 10.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.threshold < 1:
            raise InputError(
                f"a threshold of {self.threshold:g} cannot be used; give one between 0 and 1"
            )
        if not 64 <= self.size <= LARGEST_SIZE:
            raise InputError(
                f"a network cannot be given {self.size} pixels a side; give 64 to {LARGEST_SIZE}"
            )
        if self.tiles not in get_args(Tiles):
            tiles = ", ".join(get_args(Tiles))
            raise InputError(f"no way to tile is called {self.tiles!r}; give {tiles}")
        if not self.deadline_s > 0:
            raise InputError(f"{self.deadline_s:g} s is no deadline; give more than 0")
