"""Clips of a common size for the comparison with other programs, made of real excerpts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import click
import cv2
import numpy as np

from benchmarks.coverage.labels import Boxes
from benchmarks.coverage.scenarios import RATE
from benchmarks.coverage.videos import read_clip, write_clip
from faceblur.image.pixels import BgrImage
from faceblur_export.data.formats import LabelledImage


@dataclass(frozen=True)
class Excerpt:
    """Where some consecutive frames begin in a file."""

    path: Path
    start_s: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Excerpt:
        """Read `CLIP[@SECONDS]`.

        Raises:
            click.BadParameter: There is no such file.
        """
        name, _, start = text.partition("@")
        if not Path(name).is_file():
            raise click.BadParameter(f"{name} is not a file")
        return cls(Path(name), float(start or 0))

    @property
    def name(self) -> str:
        """For a person to read."""
        return self.path.name + (f" from {self.start_s:g} s" if self.start_s else "")

    def images(self, count: int) -> Iterator[BgrImage]:
        """So many frames, BGR.

        Raises:
            click.ClickException: The file ends before.
        """
        with av.open(str(self.path)) as container:
            rate = float(container.streams.video[0].average_rate or RATE)
        start = round(self.start_s * rate)
        given = 0
        for image in islice(read_clip(self.path), start, start + count):
            given += 1
            yield image
        if given < count:
            raise click.ClickException(
                f"{self.name} has only {given} of the {count} frames wanted: lower --frames"
            )


@dataclass(frozen=True)
class Format:
    """What a clip for the comparison is like.

    Attributes:
        width: Pixels.
        height: Pixels.
        frames: In all.
    """

    width: int
    height: int
    frames: int

    @property
    def name(self) -> str:
        """As it is commonly called."""
        return f"{self.height}p"


def make_clip(path: Path, excerpts: Sequence[Excerpt], format_: Format) -> None:
    """Put excerpts of equal length one after the other, encoded once, 30 frames to a second.

    Each is enlarged until it fits, keeping its shape; what is left of the frame is black.
    """
    share, rest = divmod(format_.frames, len(excerpts))

    def images() -> Iterator[BgrImage]:
        for index, excerpt in enumerate(excerpts):
            for image in excerpt.images(share + (index < rest)):
                yield fitted(image, format_.width, format_.height)

    write_clip(path, images())


def make_slides(
    path: Path, images: Sequence[LabelledImage], *, width: int, height: int
) -> dict[int, Boxes]:
    """Show labelled images for a frame each, fitted as the excerpts of a clip are.

    Returns:
        By frame number, (N, 4) boxes of the faces there.
    """
    labels: dict[int, Boxes] = {}

    def frames() -> Iterator[BgrImage]:
        for labelled in images:
            image = np.asarray(cv2.imread(str(labelled.path)), np.uint8)
            across, down = image.shape[1], image.shape[0]
            place = _Place.of(across, down, width, height)
            boxes = labelled.in_pixels(across, down).boxes
            shift = (place.left, place.top) * 2
            labels[len(labels)] = (boxes * place.scale + shift).astype(np.float32)
            yield fitted(image, width, height)

    write_clip(path, frames())
    return labels


def fitted(image: BgrImage, width: int, height: int) -> BgrImage:
    """An image in the middle of a black one, as large as fits."""
    place = _Place.of(image.shape[1], image.shape[0], width, height)
    whole = np.zeros((height, width, 3), np.uint8)
    interpolation = cv2.INTER_CUBIC if place.scale > 1 else cv2.INTER_AREA
    resized = cv2.resize(image, place.inner, interpolation=interpolation)
    across, down = place.inner
    whole[place.top : place.top + down, place.left : place.left + across] = resized
    return whole


@dataclass(frozen=True)
class _Place:
    """Where an image lies in a larger or smaller one."""

    scale: float
    inner: tuple[int, int]
    left: int
    top: int

    @classmethod
    def of(cls, across: int, down: int, width: int, height: int) -> _Place:
        scale = min(width / across, height / down)
        inner = (round(across * scale), round(down * scale))
        return cls(scale, inner, (width - inner[0]) // 2, (height - inner[1]) // 2)
