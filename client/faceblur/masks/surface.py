"""What a masker draws on: the planes of an image, whatever its colours are stored as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from faceblur.errors import InputError
from faceblur.image.pixels import WHITE, Array, Plane, RgbImage, check_pixels


class Surface(Protocol):
    """An image that can be drawn on in place, in its own colours."""

    @property
    def width(self) -> int:
        """Pixels across."""

    @property
    def height(self) -> int:
        """Pixels down."""

    @property
    def planes(self) -> Sequence[Plane]:
        """Everything that shows, transparency excepted, in a fixed order."""

    def encode(self, image: RgbImage) -> list[Array]:
        """Put a part of an image into this surface's colours.

        Args:
            image: uint8 [h, w, 3] BGR. Its top left pixel belongs at a place of the surface
                whose x and y are multiples of every plane's steps.

        Returns:
            One array for each plane, in that order and of that dtype, with ceil(h / step_y)
            rows and ceil(w / step_x) columns, and the plane's channels if it has several.
        """

    def make_opaque(self, rows: slice, columns: slice, where: Array | None) -> None:
        """Take away transparency, which may show a shape too.

        Args:
            rows: Of the image.
            columns: Of the image.
            where: Which of these pixels, bool; None for all of them.
        """


class ArraySurface:
    """A BGR, BGRA or greyscale array, masked in place."""

    def __init__(self, pixels: Array, *, white: float | None = None) -> None:
        """Wrap an array.

        Args:
            pixels: (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA; uint8, uint16 or float32.
            white: The value that means full brightness; default 255, 65535 or 1.0, by dtype.

        Raises:
            InputError: The array is not one of these, is empty, or cannot be written to.
        """
        check_pixels(pixels)
        if not pixels.flags.writeable:
            raise InputError("cannot mask a read-only array: give a copy of it")
        self._white = WHITE[pixels.dtype.name] if white is None else white
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]
        self.planes = (Plane(pixels if pixels.ndim == 2 else pixels[:, :, :3]),)

    def encode(self, image: RgbImage) -> list[Array]:
        """Put a part of an image into this array's colours (see `Surface.encode`)."""
        target = self.planes[0].pixels
        colours: Array = image
        if target.ndim == 2:
            colours = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if target.dtype == np.uint8 and self._white == 255:
            return [colours]
        scaled = colours * (self._white / 255)
        if target.dtype != np.float32:
            scaled = np.rint(scaled)
        return [scaled.astype(target.dtype)]

    def make_opaque(self, rows: slice, columns: slice, where: Array | None) -> None:
        """Take away transparency (see `Surface.make_opaque`)."""
        if self._pixels.ndim == 3 and self._pixels.shape[2] == 4:
            alpha = self._pixels[rows, columns, 3]
            alpha[... if where is None else where] = self._white
