"""How faces are covered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from faceblur.errors import InputError
from faceblur.image.pixels import Array
from faceblur.masks.overlay import Overlay
from faceblur.schema import JsonObject, finite

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
            picture of your own).
        shape: "ellipse" or "box".
        expand: What is added to the box on each side, as a fraction of its width and height.
            With 0.2 the ellipse passes close to the corners of the box the detector found.
        cells: Cells across the longer side, 1 to 6, for "blur" and "pixelate".
        feather: Width of a soft edge as a fraction of half the expanded box. It is added outside
            the shape: inside, the mask is always complete.
        colour: Red, green, blue, 0–255, for "solid" and behind an image with transparency.
        image: The image for "image", stretched over each face: an `Overlay`, a file or an array,
            uint8 BGR, BGRA or grey. A file is read at once; see `overlay`.

    Raises:
        InputError: A value out of its range, mode "image" without an image, or one that cannot
            be read.
    """

    mode: MaskMode = "veil"
    shape: MaskShape = "ellipse"
    expand: float = 0.25
    cells: int = MAX_CELLS
    feather: float = 0.0
    colour: tuple[int, int, int] = (0, 0, 0)
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
        if len(self.colour) != 3 or not all(0 <= value <= 255 for value in self.colour):
            raise InputError(f"{self.colour} is no colour: use red, green and blue, 0 to 255 each")
        if self.mode == "image" and self.image is None:
            raise InputError("mask mode image needs a picture to put over the faces")
        if isinstance(self.image, str | Path):
            object.__setattr__(self, "image", Overlay.load(self.image))
        elif not isinstance(self.image, Overlay | None):
            object.__setattr__(self, "image", Overlay.of_array(self.image))

    @property
    def overlay(self) -> Overlay | None:
        """The image, as it was read when the style was made."""
        return cast("Overlay | None", self.image)

    def to_json(self) -> dict[str, Any]:
        """Every setting, in values that JSON has; an image by its path and SHA-256."""
        return {
            "mode": self.mode,
            "shape": self.shape,
            "expand": float(self.expand),
            "cells": self.cells,
            "feather": float(self.feather),
            "colour": list(self.colour),
            "image": None if self.overlay is None else self.overlay.to_json(),
        }

    @classmethod
    def from_json(cls, value: object, where: str = "the mask") -> MaskStyle:
        """The inverse of `to_json`; settings that are left out have their defaults.

        Raises:
            InputError: A setting is unknown or makes no sense, or the picture is not there any
                more, or not the same.
        """
        read, default = JsonObject(value, where), cls()
        mode: Any = read.text("mode", default.mode)
        shape: Any = read.text("shape", default.shape)
        colour: Any = tuple(
            finite(value, place) for place, value in read.values("colour", default.colour)
        )
        if any(value % 1 for value in colour):
            raise InputError(f"the colour in {where} must be whole numbers, 0 to 255")
        image = read.any("image")
        style = cls(
            mode=mode,
            shape=shape,
            expand=read.number("expand", default.expand),
            cells=read.whole("cells", default.cells),
            feather=read.number("feather", default.feather),
            colour=tuple(int(value) for value in colour),  # type: ignore[arg-type]
            image=None if image is None else Overlay.from_json(image, f"the picture of {where}"),
        )
        read.finish()
        return style


def _choices(literal: object) -> str:
    return ", ".join(get_args(literal))
