"""An image of your own that covers faces."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faceblur.errors import InputError
from faceblur.files import file_sha256
from faceblur.image.pixels import Array, check_pixels
from faceblur.schema.conversion import build
from faceblur.schema.mistakes import FormError
from faceblur.schema.values import named


@dataclass(frozen=True, eq=False)
class Overlay:
    """An image that is stretched over each face, read once.

    Attributes:
        pixels: (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA; uint8, uint16 or float32.
        path: The file it was read from; None for an array.
        sha256: Of the file, or of the array's type, shape and content.
    """

    pixels: Array
    path: Path | None
    sha256: str

    @classmethod
    def load(cls, path: str | Path) -> Overlay:
        """Read an image file.

        Raises:
            InputError: It cannot be read, or holds no image.
        """
        # Masks are made by commands and cameras that never need a reader of image files.
        from faceblur.image.io import read_image

        path = Path(path)
        pixels = next(read_image(path).pages).pixels
        return cls(pixels, path, file_sha256(path))

    @classmethod
    def of_array(cls, pixels: Array) -> Overlay:
        """Take a copy of an array.

        Raises:
            InputError: It is not an image.
        """
        check_pixels(pixels)
        copy = np.array(pixels, order="C")
        head = f"{copy.dtype.str} {copy.shape}".encode()
        return cls(copy, None, hashlib.sha256(head + copy.tobytes()).hexdigest())

    def to_json(self) -> dict[str, Any]:
        """What tells the image from any other."""
        return {"path": None if self.path is None else str(self.path), "sha256": self.sha256}

    @classmethod
    def from_json(cls, value: object) -> Overlay:
        """Read the image again that `to_json` told of.

        Raises:
            InputError: It was an array, cannot be read, or is not the same any more.
        """
        if isinstance(value, cls):
            return value
        if named(value).get("path") is None:
            raise FormError("was no file; give one with --mask-image")
        file = build(_File, named(value))
        overlay = cls.load(file.path)
        if overlay.sha256 != file.sha256:
            raise InputError(f"{file.path} is not what it was: it has changed; give another")
        return overlay


@dataclass(frozen=True)
class _File:
    path: Path
    sha256: str
