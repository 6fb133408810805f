"""One image file, from the source to the masked result."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Final

from faceblur.batch.faces import FindFaces
from faceblur.batch.jobs import OnComplete, completion
from faceblur.detections import TIME_DIGITS, Detections, FrameDetections, MediaDetections
from faceblur.image.io import ImageFile, Page, read_image, write_image
from faceblur.masks.masker import Masker
from faceblur.masks.policy import Policy
from faceblur.masks.selection import Selection
from faceblur.masks.surface import ArraySurface
from faceblur.masks.visibility import visible
from faceblur.times import TimeSpan

_SHORTEST_S: Final = Fraction(1, 100)
"""How long a frame of an animation that names no time is shown, at least."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How images are written.

    Attributes:
        quality: 1-100; like the source's when None.
        keep_metadata: Keep EXIF and XMP. Thumbnails are never kept.
    """

    quality: int | None = None
    keep_metadata: bool = False


def mask_image(
    source: Path,
    output: Path,
    *,
    find_faces: FindFaces,
    policy: Policy,
    options: ImageOptions,
    on_complete: OnComplete | None = None,
) -> MediaDetections:
    """Mask the faces on every page of an image file.

    Each page is read, given its faces, masked and written before the next one is read. The output
    appears when all of its pages were checked and masked, or not at all. What the policy says of
    times counts for animations alone.

    Raises:
        InputError: The source cannot be read, or the listed faces are not of it.
        OutputError: The output cannot be written.
        ServerError: A page could not be checked for faces.
    """
    image = read_image(source)
    found = find_faces.in_image(image)
    masker = Masker(policy.mask)
    frames: list[FrameDetections] = []
    report = MediaDetections(image.path, image.width, image.height, frames)

    @lru_cache(maxsize=1)
    def selection(width: int, height: int) -> Selection:
        return Selection(policy, width, height)

    def masked_pages() -> Iterator[Page]:
        for page, faces, unmasked in found:
            surface = ArraySurface(page.pixels)
            width, height = surface.width, surface.height
            choice = selection(width, height).choose(faces, _shown(page))
            drawn = masker.apply(surface, choice.faces, choice.areas)
            if len(unmasked) or len(report.unmasked):
                # It names every page, or none.
                for before in frames[len(report.unmasked) :]:
                    report.unmasked.append(_exactly(before.pts_s), Detections.empty())
                seen = visible(unmasked, drawn, width, height)
                report.unmasked.append(_exactly(page.pts_s), unmasked.select(seen))
            frames.append(FrameDetections(len(frames), page.pts_s, choice.faces))
            yield page

    safe: ImageFile = dataclasses.replace(image, pages=masked_pages())
    write_image(
        output,
        safe,
        quality=options.quality,
        keep_metadata=options.keep_metadata,
        before_commit=completion(on_complete, report),
    )
    return report


def _exactly(seconds: Fraction | float) -> Fraction:
    return Fraction(round(seconds * 10**TIME_DIGITS), 10**TIME_DIGITS)


def _shown(page: Page) -> TimeSpan | None:
    """When a frame of an animation is shown."""
    if page.duration_s is None:
        return None
    start_s = Fraction(round(page.pts_s * 1000), 1000)
    duration_s = Fraction(round(page.duration_s * 1000), 1000)
    return TimeSpan(start_s, start_s + (duration_s or _SHORTEST_S))
