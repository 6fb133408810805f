"""TODO client/faceblur/detection/options.py."""

from __future__ import annotations

from typing import Final

DEFAULT_THRESHOLD: Final = 0.11
"""Lowest score (objectness × class) that counts as a face.

What `faceblur-train threshold --held-out` answers for the bundled model, where a missed face costs
ten times what an extra mask does, and doubt errs towards masking.
"""

DEFAULT_SIZE: Final = 640
"""Longest side, in pixels, of the picture given to the network."""

MAX_SIDE: Final = 2048
"""Longest side, in pixels, of a picture that a server takes unless it is told otherwise."""

LARGEST_SIZE: Final = 8192
"""The most that can be asked for at all: a square of that takes gigabytes."""
