"""Cover faces, so that what was there cannot be computed back.

Why the masks cannot be undone: `veil`, `solid` and `image` read no pixel of the picture. `veil`
draws what a strongly blurred face looks like, the same for everybody.

`blur` and `pixelate` reduce the region to a grid of at most `MAX_CELLS` × `MAX_CELLS` averages and
draw from those alone, smoothed into each other or as blocks. The grid spans the expanded box, so
with the default expansion a face is about four cells wide, whatever its size in pixels. Nobody is
recognised behind them from clear pictures. They are weaker all the same: two faces with the same
averages give the same mask, but few faces have the same, so whoever has another copy of the picture
and masks it in the same way finds the match (`faceblur attack` measures that). And what a still
picture hides can come back in part from many: a box that moves over a face by fractions of a cell
averages it differently in each frame, and the frames together tell more than one of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np

from faceblur.areas import Area
from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur.image_pixels import flattened, to_uint8
from faceblur.images import read_image
from faceblur.json_values import JsonObject, finite
from faceblur.mask_regions import MaskShape, Region, lay_out, steps
from faceblur.surface import Array, Picture, Surface, check_pixels

MaskMode = Literal["veil", "blur", "pixelate", "solid", "image"]

MAX_CELLS = 6
"""Cells across a masked region, at most."""

_NOBODY_TONE = (108, 128, 158)
"""Blue, green, red of the middle: between the tones of people, and duller."""

_NOBODY_DOWN = (0.60, 0.71, 0.82, 0.93, 1.04, 1.15)
_NOBODY_ACROSS = (0.90, 0.97, 1.0, 1.0, 0.97, 0.90)
"""How light it is, row by row and column by column. Nothing in it is darker where eyes and mouth
would be: a detector that takes the mask for a face would report it as not masked."""


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
        image: The picture for "image", stretched over each face: a file or an array, uint8 BGR,
            BGRA or grey.

    Raises:
        InputError: A value out of its range, or mode "image" without an image.
    """

    mode: MaskMode = "veil"
    shape: MaskShape = "ellipse"
    expand: float = 0.25
    cells: int = MAX_CELLS
    feather: float = 0.0
    colour: tuple[int, int, int] = (0, 0, 0)
    image: Path | Array | None = None

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

    def to_json(self) -> dict[str, Any]:
        """Every setting, in values that JSON has; a picture by its path and SHA-256.

        Raises:
            InputError: The picture cannot be read.
        """
        return {
            "mode": self.mode,
            "shape": self.shape,
            "expand": float(self.expand),
            "cells": self.cells,
            "feather": float(self.feather),
            "colour": list(self.colour),
            "image": None if self.image is None else _named(self.image),
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
            image=None if image is None else _found(image, f"the picture of {where}"),
        )
        read.finish()
        return style


class Masker:
    """Covers faces on surfaces in one style. Holds no picture; safe to share between threads."""

    def __init__(self, style: MaskStyle | None = None) -> None:
        """Prepare a style.

        Args:
            style: How to cover faces; `veil` when not given.

        Raises:
            InputError: The overlay picture cannot be read.
        """
        self.style = MaskStyle() if style is None else style
        self._overlays: list[Picture] = []
        if self.style.mode == "image" and self.style.image is not None:
            self._overlays = _overlays(self.style.image, self.style.colour)

    def apply(self, surface: Surface, detections: Detections, areas: Sequence[Area] = ()) -> None:
        """Cover all detections and areas on a surface, in place.

        A face at the border is covered as far as it is in the picture, with cells as large as
        if all of it were. On planes that are subsampled the mask is rounded outwards. No pixel
        of an area is read, in any mode: where faces are blurred or pixelated, areas are veiled.

        Args:
            surface: What to draw on.
            detections: Faces in pixels of the surface.
            areas: What is covered wholly, laid over pictures of the surface's size.

        Raises:
            InputError: A box is not finite or its corners are swapped. Nothing has been drawn.
        """
        style = self.style
        faces = lay_out(
            surface,
            detections,
            shape=style.shape,
            expand=style.expand,
            feather=style.feather,
            cells=style.cells,
        )
        # Smallest first, each read from what the ones before it left: where masks overlap, the
        # coarser one is drawn from pixels already masked, and never the other way round.
        reads = style.mode in ("blur", "pixelate")
        self._draw(surface, faces, reads=reads)
        if surface.masks_are_opaque:
            for face in faces:
                cover = face.cover(surface.planes[0])
                rows, columns = slice(face.y0, face.y1), slice(face.x0, face.x1)
                surface.make_opaque(rows, columns, None if cover is None else cover > 0)
        # Areas come last: nothing that is made of the picture may lie over them.
        self._draw(surface, areas, reads=False)
        for area in areas:
            rows, columns = slice(area.y0, area.y1), slice(area.x0, area.x1)
            surface.make_opaque(rows, columns, area.pixels)

    def _draw(self, surface: Surface, regions: Sequence[Region], *, reads: bool) -> None:
        if not regions:
            return
        style = self.style
        flat = self._flat(surface, regions) if style.mode == "solid" else None
        nobody = None if reads or flat or self._overlays else surface.encode(_nobody())
        for region in regions:
            patches = self._stretched(surface, region) if self._overlays else flat
            for index, plane in enumerate(surface.planes):
                view = region.view(plane)
                if patches is not None:
                    patch = patches[index]
                elif nobody is not None:
                    patch = _smoothed(nobody[index], view, region)
                else:
                    patch = _averaged(view, region, smooth=style.mode == "blur")
                _paste(view, patch[: view.shape[0], : view.shape[1]], region.cover(plane))

    def _flat(self, surface: Surface, regions: Sequence[Region]) -> list[Array]:
        """The style's colour, for each plane as many samples as any region has."""
        step_x, step_y = steps(surface)
        picture = np.full((step_y, step_x, 3), self.style.colour[::-1], np.uint8)
        width, height = (max(sides) for sides in zip(*(r.size for r in regions), strict=True))
        return [
            np.tile(samples, (height, width) + (1,) * (samples.ndim - 2))
            for samples in surface.encode(picture)
        ]

    def _stretched(self, surface: Surface, region: Region) -> list[Array]:
        """The overlay at the size of a region."""
        width, height = region.size
        # Taken from the smallest copy that is large enough, linear is both quick and clean.
        overlay = next(
            (o for o in self._overlays if o.shape[0] >= height and o.shape[1] >= width),
            self._overlays[-1],
        )
        picture = cv2.resize(overlay, (width, height), interpolation=cv2.INTER_LINEAR)
        return surface.encode(picture.astype(np.uint8, copy=False))


@cache
def _nobody() -> Picture:
    """A blurred face like everybody's and nobody's, uint8 BGR, whole samples to each cell."""
    light = np.outer(_NOBODY_DOWN, _NOBODY_ACROSS)
    cells = np.multiply.outer(light, np.array(_NOBODY_TONE))
    picture: Picture = np.kron(cells, np.ones((4, 4, 1))).round().astype(np.uint8)
    return picture


def _smoothed(samples: Array, view: Array, region: Region) -> Array:
    """Draw samples of a plane over a region of it, in the region's cells, without edges."""
    height, width = view.shape[:2]
    cells = cv2.resize(samples, region.grid(view), interpolation=cv2.INTER_AREA)
    # Linear, because it stays within the range of the cells at every bit depth.
    patch: Array = cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR)
    return patch


def _averaged(view: Array, region: Region, *, smooth: bool) -> Array:
    """Reduce a part of a plane to the region's grid, and draw it again from that alone."""
    height, width = view.shape[:2]
    columns, rows = region.grid(view)
    # Cells of whole samples are averaged several times faster. The few samples this leaves
    # over, at most one to a cell, lie at the rim of the region.
    left, top = width % columns // 2, height % rows // 2
    inner = view[top : height - height % rows + top, left : width - width % columns + left]
    cells = cv2.resize(inner, (columns, rows), interpolation=cv2.INTER_AREA)
    # Linear, because it stays within the range of the cells at every bit depth.
    how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    patch: Array = cv2.resize(cells, (width, height), interpolation=how)
    return patch


def _paste(view: Array, patch: Array, cover: Array | None) -> None:
    """Write a patch where the cover says."""
    patch = patch.reshape(view.shape)
    if cover is None:
        view[:] = patch
        return
    if cover.dtype == np.float32:
        weight = cover[:, :, None] if view.ndim == 3 else cover
        mixed = view + (patch.astype(np.float32) - view) * weight
        soft = mixed if view.dtype == np.float32 else np.rint(mixed)
        # Where the cover is complete the patch counts alone, without any rounding.
        patch = np.where(weight == 1, patch, soft.astype(view.dtype))
        cover = cover > 0
    chosen = cover.view(np.uint8)
    if _is_packed(view):
        cv2.copyTo(patch, chosen, view)
    else:
        view[:] = cv2.copyTo(patch, chosen, view.copy())


def _is_packed(view: Array) -> bool:
    """Whether OpenCV can write to a view where it lies: samples of a row follow each other."""
    samples = view.shape[2] if view.ndim == 3 else 1
    packed = view.strides[1] == samples * view.itemsize and view.strides[0] > 0
    return packed and (view.ndim == 2 or view.strides[2] == view.itemsize)


def _overlays(image: Path | Array, colour: tuple[int, int, int]) -> list[Picture]:
    """The overlay in BGR without holes, and copies of half the size each, smallest first."""
    pixels = image if isinstance(image, np.ndarray) else next(read_image(image).pages).pixels
    check_pixels(pixels)
    solid = to_uint8(flattened(pixels, colour))
    if solid.ndim == 2:
        solid = cv2.cvtColor(solid, cv2.COLOR_GRAY2BGR)
    copies = [solid]
    while min(copies[-1].shape[:2]) > 1:
        copies.append(cv2.pyrDown(copies[-1]))
    return [copy.astype(np.uint8, copy=False) for copy in reversed(copies)]


def _named(image: Path | Array) -> dict[str, Any]:
    """What tells a picture from any other."""
    if isinstance(image, np.ndarray):
        head = f"{image.dtype.str} {image.shape}".encode()
        content = head + np.ascontiguousarray(image).tobytes()
        return {"path": None, "sha256": hashlib.sha256(content).hexdigest()}
    try:
        content = Path(image).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {image}: {error.strerror}") from error
    return {"path": str(image), "sha256": hashlib.sha256(content).hexdigest()}


def _found(value: object, where: str) -> Path:
    """The inverse of `_named`."""
    read = JsonObject(value, where)
    if read.any("path") is None:
        raise InputError(f"{where} was no file; give one with --mask-image")
    path, sha256 = Path(read.text("path")), read.text("sha256")
    read.finish()
    if _named(path)["sha256"] != sha256:
        raise InputError(f"{path} is not {where} any more: it has changed; give another")
    return path


def _choices(literal: object) -> str:
    return ", ".join(get_args(literal))
