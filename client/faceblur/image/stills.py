"""Single pages of an image file, each by its place, decoded no further than that needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from faceblur.image.decoding import (
    decode_by_opencv,
    decode_page,
    naming_errors,
    open_image,
    page_indices,
)
from faceblur.image.pixels import Array, BgrImage, rgb8


@dataclass(frozen=True)
class Pages:
    """What kind of pages an image has.

    Attributes:
        are_frames: They follow each other in time: it is an animation.
        sizes: Width and height of each, upright, pixels; empty where all have one size.
    """

    are_frames: bool = False
    sizes: tuple[tuple[int, int], ...] = ()


def pages_of(path: Path) -> Pages:
    """Look at the pages of an image without decoding them.

    Raises:
        InputError: It cannot be read.
    """
    with naming_errors(path), open_image(path) as image:
        if image is None:
            return Pages()
        indices = page_indices(image)
        if len(indices) == 1:
            return Pages()
        if image.format != "TIFF":
            return Pages(are_frames=True)
        sizes = []
        for index in indices:
            image.seek(index)
            # Pillow gives it upright.
            sizes.append(image.size)
        return Pages(sizes=tuple(sizes) if len(set(sizes)) > 1 else ())


def page_stills(
    path: Path, wanted: range, *, on_page: Callable[[], None] = lambda: None
) -> dict[int, BgrImage]:
    """Some pages of an image that follow each other.

    Args:
        path: The image.
        wanted: Which, from 0 on.
        on_page: Called before each; what it raises breaks this off.

    Returns:
        Of each its pixels, (H, W, 3) uint8 BGR, upright; of those that there are not, none.

    Raises:
        InputError: It cannot be read.
    """
    found = {}
    with naming_errors(path), open_image(path) as image:
        if image is None:
            return {0: _pixels(decode_by_opencv(path))} if 0 in wanted else {}
        for place, index in enumerate(page_indices(image)):
            if place in wanted:
                on_page()
                found[place] = _pixels(decode_page(image, path, index))
    return found


def page_starts(path: Path) -> list[Fraction]:
    """When each frame of an animation appears, seconds from its start, to the millisecond.

    Raises:
        InputError: It cannot be read.
    """
    starts, next_ms = [], 0.0
    with naming_errors(path), open_image(path) as image:
        for index in [] if image is None else page_indices(image):
            assert image is not None
            image.seek(index)
            # WebP and AVIF do not know before how long a frame is shown.
            image.load()
            starts.append(Fraction(round(next_ms), 1000))
            next_ms += image.info.get("duration", 0)
    return starts


def _pixels(page: Array) -> BgrImage:
    return np.asarray(rgb8(page)[:, :, ::-1], np.uint8)
