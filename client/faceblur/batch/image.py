"""One picture file, from the source to the masked result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Final

from faceblur.batch.annotations import MediaAnnotations
from faceblur.batch.jobs import OnComplete, completion
from faceblur.detection.detect import detect
from faceblur.detection.detector import Detector
from faceblur.detections import Detections, FrameDetections, MediaDetections
from faceblur.image.io import ImageFile, Page, read_image, write_image
from faceblur.masks.masker import Masker
from faceblur.masks.policy import Policy
from faceblur.masks.selection import Selection
from faceblur.masks.spans import TimeSpan
from faceblur.masks.surface import ArraySurface

_SHORTEST_S: Final = Fraction(1, 100)
"""How long a frame of an animation that names no time is shown, at least."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How pictures are written.

    Attributes:
        quality: 1-100; like the source's when None.
        keep_metadata: Keep EXIF and XMP. Thumbnails are never kept.
    """

    quality: int | None = None
    keep_metadata: bool = False


def blur_image(
    source: Path,
    output: Path,
    *,
    detector: Detector,
    policy: Policy,
    options: ImageOptions,
    deadline_s: float,
    on_complete: OnComplete | None = None,
) -> MediaDetections:
    """Mask the faces on every page of a picture file.

    The output appears when all of its pages were checked and masked, or not at all.

    Args:
        source: The picture.
        output: Where the result goes; the suffix decides the format.
        detector: What finds the faces.
        policy: What is masked and how. What it says of times counts for animations alone.
        options: How to write.
        deadline_s: Seconds to wait for the answer to one view of a page.
        on_complete: See `faceblur.batch.jobs.OnComplete`.

    Raises:
        InputError: The source cannot be read.
        OutputError: The output cannot be written.
        ServerError: A page could not be checked for faces.
    """

    def find(index: int, page: Page) -> Detections:  # noqa: ARG001
        return detect(
            detector,
            page.pixels,
            threshold=policy.threshold,
            size=policy.size,
            deadline_s=deadline_s,
            tiles=policy.tiles,
        )

    return _mask(read_image(source), output, find, policy, options, on_complete)


def replay_image(
    source: Path,
    output: Path,
    *,
    recorded: MediaAnnotations,
    policy: Policy,
    options: ImageOptions,
    on_complete: OnComplete | None = None,
) -> MediaDetections:
    """Mask the faces that are listed for every page of a picture file; nothing is detected.

    Args:
        source: The picture.
        output: Where the result goes; the suffix decides the format.
        recorded: Where the faces are.
        policy: What is masked and how.
        options: How to write.
        on_complete: See `faceblur.batch.jobs.OnComplete`.

    Raises:
        InputError: The list is not of this picture, or not of every page; the source cannot be
            read.
        OutputError: The output cannot be written.
    """
    image = read_image(source)
    recorded.check_size(image.width, image.height)
    recorded.check_end(image.page_count)

    def find(index: int, page: Page) -> Detections:
        return recorded.faces(index, page.pts_s)

    return _mask(image, output, find, policy, options, on_complete)


def _mask(
    image: ImageFile,
    output: Path,
    find: Callable[[int, Page], Detections],
    policy: Policy,
    options: ImageOptions,
    on_complete: OnComplete | None,
) -> MediaDetections:
    masker = Masker(policy.mask)
    frames: list[FrameDetections] = []

    @lru_cache(maxsize=1)
    def selection(width: int, height: int) -> Selection:
        return Selection(policy, width, height)

    def masked() -> Iterator[Page]:
        for index, page in enumerate(image.pages):
            surface = ArraySurface(page.pixels)
            choice = selection(surface.width, surface.height).choose(
                find(index, page), _shown(page)
            )
            masker.apply(surface, choice.faces, choice.areas)
            frames.append(FrameDetections(index, page.pts_s, choice.faces))
            yield page

    safe: ImageFile = dataclasses.replace(image, pages=masked())
    report = MediaDetections(image.path, image.width, image.height, frames)
    write_image(
        output,
        safe,
        quality=options.quality,
        keep_metadata=options.keep_metadata,
        before_commit=completion(on_complete, report),
    )
    return report


def _shown(page: Page) -> TimeSpan | None:
    """When a frame of an animation is shown."""
    if page.duration_s is None:
        return None
    start_s = Fraction(round(page.pts_s * 1000), 1000)
    duration_s = Fraction(round(page.duration_s * 1000), 1000)
    return TimeSpan(start_s, start_s + (duration_s or _SHORTEST_S))
