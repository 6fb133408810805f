"""How faces are covered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, cast, get_args

import numpy as np

from faceblur.errors import InputError
from faceblur.image.pixels import Array
from faceblur.masks.overlay import Overlay
from faceblur.schema.conversion import register

MaskShape = Literal["ellipse", "box"]
MaskMode = Literal["veil", "blur", "pixelate", "solid", "image"]

MAX_CELLS = 6
"""Cells across a masked region, at most."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskStyle:
    """How faces are covered.

    Attributes:
        mode: "veil" (the blurred face of nobody), "blur" (averages of the face, smoothed into
            each other), "pixelate" (the same as blocks), "solid" (one colour) or "image" (a
            image of your own).
        shape: "ellipse" or "box".
        expand: What is added to the box on each side, as a fraction of its width and height.
            With 0.2 the ellipse passes close to the corners of the box the detector found.
        cells: Cells across the longer side, 1 to 6, for "blur" and "pixelate".
        feather: Width of a soft edge as a fraction of half the expanded box. It is added outside
            the shape: inside, the mask is always complete.
        color: Red, green, blue, 0–255, for "solid" and behind an image with transparency.
        image: The image for "image", stretched over each face: an `Overlay`, a file or an array,
            uint8 BGR, BGRA or grey. A file is read at once; see `overlay`.

    Raises:
        InputError: A value out of its range, mode "image" without an image, or one that cannot
            be read.

    Example:
        >>> style = faceblur.MaskStyle(mode="pixelate", shape="box", expand=0.4)
        >>> safe = faceblur.blur(frame, mask=style)
        >>> bool((safe.image != frame).any())
        True
    """

    written_as: ClassVar = {"color": "colour"}
    mode: MaskMode = "veil"
    shape: MaskShape = "ellipse"
    expand: float = 0.25
    cells: int = MAX_CELLS
    feather: float = 0.0
    color: tuple[int, int, int] = (0, 0, 0)
    image: Overlay | Path | Array | None = None

    def __post_init__(self) -> None:
        """Check every value: a style that exists can be drawn."""
        if self.mode not in get_args(MaskMode):
            raise InputError(f"no mask is called {self.mode!r}: use {_choices(MaskMode)}")
        if self.shape not in get_args(MaskShape):
            raise InputError(f"no mask shape is called {self.shape!r}: use {_choices(MaskShape)}")
        if not 0 <= self.expand <= 3:
            raise InputError(f"a mask cannot be expanded by {self.expand}: use 0 to 3")
        if not 1 <= self.cells <= MAX_CELLS:
            raise InputError(
                f"{self.cells} cells are not allowed: use 1 to {MAX_CELLS}, as finer masks can "
                "be recognised"
            )
        if not 0 <= self.feather <= 1:
            raise InputError(f"a mask edge cannot be {self.feather} soft: use 0 to 1")
        if len(self.color) != 3 or not all(0 <= value <= 255 for value in self.color):
            raise InputError(f"{self.color} is no colour: use red, green and blue, 0 to 255 each")
        if self.mode == "image" and self.image is None:
            raise InputError("mask mode image needs an image to put over the faces")
        if isinstance(self.image, str | Path):
            object.__setattr__(self, "image", Overlay.load(self.image))
        elif not isinstance(self.image, Overlay | None):
            object.__setattr__(self, "image", Overlay.of_array(self.image))

    @property
    def overlay(self) -> Overlay | None:
        """The image, as it was read when the style was made."""
        return cast("Overlay | None", self.image)


def _image(value: object) -> Overlay | Path | Array | None:
    return value if isinstance(value, Path | np.ndarray | None) else Overlay.from_json(value)


register(
    Overlay | Path | Array | None,
    read=_image,
    write=lambda image: None if image is None else image.to_json(),
)


def _choices(literal: object) -> str:
    return ", ".join(get_args(literal))
