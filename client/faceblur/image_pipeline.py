"""One picture file, from the source to the masked result."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faceblur.blurrer import detect
from faceblur.detector import Detector
from faceblur.images import ImageFile, Page, read_image, write_image
from faceblur.masks import Masker
from faceblur.policy import Policy
from faceblur.report import FrameReport, MediaReport
from faceblur.surface import ArraySurface


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
) -> MediaReport:
    """Mask the faces on every page of a picture file.

    The output appears when all of its pages were checked and masked, or not at all.

    Raises:
        InputError: The source cannot be read.
        OutputError: The output cannot be written.
        ServerError: A page could not be checked for faces.
    """
    masker = Masker(policy.mask)
    image = read_image(source)
    frames: list[FrameReport] = []

    def masked() -> Iterator[Page]:
        for index, page in enumerate(image.pages):
            detections = detect(
                detector,
                page.pixels,
                threshold=policy.threshold,
                size=policy.size,
                deadline_s=deadline_s,
            )
            masker.apply(ArraySurface(page.pixels), detections)
            frames.append(FrameReport(index, page.pts_s, detections))
            yield page

    safe: ImageFile = dataclasses.replace(image, pages=masked())
    write_image(output, safe, quality=options.quality, keep_metadata=options.keep_metadata)
    return MediaReport(source, image.width, image.height, frames)
