"""Cover faces, so that what was there cannot be computed back.

Why the masks cannot be undone: `veil`, `solid` and `image` read no pixel of the image. `veil`
draws what a strongly blurred face looks like, the same for everybody.

`blur` and `pixelate` reduce the region to a grid of at most `MAX_CELLS` × `MAX_CELLS` averages and
draw from those alone, smoothed into each other or as blocks. The grid spans the expanded box, so
with the default expansion a face is about four cells wide, whatever its size in pixels. Nobody is
recognised behind them from clear images. They are weaker all the same: two faces with the same
averages give the same mask, but few faces have the same, so anybody who has another copy of the
image and masks it in the same way finds the match (`faceblur attack` measures that). And what a
still image hides can come back in part from many: a box that moves over a face by fractions of a
cell averages it differently in each frame, and the frames together tell more than one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from faceblur.detections import Detections
from faceblur.image.pixels import Array, BgrImage, flatten, to_uint8
from faceblur.masks.regions import Region, plan_regions, steps
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import Surface

_NOBODY_TONE = (108, 128, 158)
"""Blue, green, red of the middle: between the tones of people, and duller."""

_NOBODY_DOWN = (0.60, 0.71, 0.82, 0.93, 1.04, 1.15)
_NOBODY_ACROSS = (0.90, 0.97, 1.0, 1.0, 0.97, 0.90)
"""How light it is, row by row and column by column. Nothing in it is darker where eyes and mouth
would be: a detector that takes the mask for a face would report it as not masked."""


class Masker:
    """Covers faces on surfaces in one style. Holds no image; safe to share between threads."""

    def __init__(self, style: MaskStyle | None = None) -> None:
        self.style = MaskStyle() if style is None else style
        self._overlays: list[BgrImage] = []
        if self.style.mode == "image" and self.style.overlay is not None:
            self._overlays = _overlays(self.style.overlay.pixels, self.style.color)

    def apply(
        self, surface: Surface, detections: Detections, areas: Sequence[Region] = ()
    ) -> Sequence[Region]:
        """Cover all detections and areas on a surface, in place.

        A face at the border is covered as far as it is in the image, with cells as large as
        if all of it were. On planes that are subsampled the mask is rounded outwards. No pixel
        of an area is read, in any mode: where faces are blurred or pixelated, areas are veiled.

        Args:
            surface: What to draw on.
            detections: Faces in pixels of the surface.
            areas: What is covered wholly: areas and silhouettes, laid over images of the
                surface's size.

        Returns:
            All that was covered.

        Raises:
            InputError: A box is not finite or its corners are swapped. Nothing has been drawn.
        """
        style = self.style
        faces = plan_regions(surface, detections, style)
        # Smallest first, each read from what the ones before it left: where masks overlap, the
        # coarser one is drawn from pixels already masked, and never the other way round.
        reads = style.mode in ("blur", "pixelate")
        self._draw(surface, faces, reads=reads)
        # A face may be drawn by transparency alone; and where that is encoded with loss, it would
        # let a mask shine through.
        for face in faces:
            cover = face.cover(surface.planes[0])
            rows, columns = slice(face.y0, face.y1), slice(face.x0, face.x1)
            surface.make_opaque(rows, columns, None if cover is None else cover > 0)
        # Areas come last: nothing that is made of the image may lie over them.
        self._draw(surface, areas, reads=False)
        for area in areas:
            rows, columns = slice(area.y0, area.y1), slice(area.x0, area.x1)
            surface.make_opaque(rows, columns, area.cover(surface.planes[0]))
        return [*faces, *areas]

    def _draw(self, surface: Surface, regions: Sequence[Region], *, reads: bool) -> None:
        if not regions:
            return
        style = self.style
        flat = self._flat(surface, regions) if style.mode == "solid" else None
        nobody = None if reads or flat or self._overlays else surface.encode(_nobody())
        for region in regions:
            patches = self._stretch_overlay(surface, region) if self._overlays else flat
            for index, plane in enumerate(surface.planes):
                view = region.view(plane)
                if patches is not None:
                    patch = patches[index]
                elif nobody is not None:
                    patch = _draw_smooth(nobody[index], view, region)
                else:
                    patch = _draw_averages(view, region, smooth=style.mode == "blur")
                _paste(view, patch[: view.shape[0], : view.shape[1]], region.cover(plane))

    def _flat(self, surface: Surface, regions: Sequence[Region]) -> list[Array]:
        """The style's color, for each plane as many samples as any region has."""
        step_x, step_y = steps(surface)
        image = np.full((step_y, step_x, 3), self.style.color[::-1], np.uint8)
        width, height = (max(sides) for sides in zip(*(r.size for r in regions), strict=True))
        return [
            np.tile(samples, (height, width) + (1,) * (samples.ndim - 2))
            for samples in surface.encode(image)
        ]

    def _stretch_overlay(self, surface: Surface, region: Region) -> list[Array]:
        """The overlay at the size of a region."""
        width, height = region.size
        # Taken from the smallest copy that is large enough, linear is both quick and clean.
        overlay = next(
            (o for o in self._overlays if o.shape[0] >= height and o.shape[1] >= width),
            self._overlays[-1],
        )
        image = cv2.resize(overlay, (width, height), interpolation=cv2.INTER_LINEAR)
        return surface.encode(image.astype(np.uint8, copy=False))


@cache
def _nobody() -> BgrImage:
    """A generic blurred face, uint8 BGR, whole samples to each cell."""
    light = np.outer(_NOBODY_DOWN, _NOBODY_ACROSS)
    cells = np.multiply.outer(light, np.array(_NOBODY_TONE))
    image: BgrImage = np.kron(cells, np.ones((4, 4, 1))).round().astype(np.uint8)
    return image


def _draw_smooth(samples: Array, view: Array, region: Region) -> Array:
    """Draw samples of a plane over a region of it, in the region's cells, without edges."""
    height, width = view.shape[:2]
    cells = cv2.resize(samples, region.grid(view), interpolation=cv2.INTER_AREA)
    # Linear, because it stays within the range of the cells at every bit depth.
    patch: Array = cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR)
    return patch


def _draw_averages(view: Array, region: Region, *, smooth: bool) -> Array:
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


def _overlays(pixels: Array, color: tuple[int, int, int]) -> list[BgrImage]:
    """The overlay in BGR without holes, and copies of half the size each, smallest first."""
    solid = to_uint8(flatten(pixels, color))
    if solid.ndim == 2:
        solid = cv2.cvtColor(solid, cv2.COLOR_GRAY2BGR)
    copies = [solid]
    while min(copies[-1].shape[:2]) > 1:
        copies.append(cv2.pyrDown(copies[-1]))
    return [copy.astype(np.uint8, copy=False) for copy in reversed(copies)]
