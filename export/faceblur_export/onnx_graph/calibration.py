"""The frames that an INT8 model takes its ranges from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import DEFAULT_SIZE
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.errors import InputError
from faceblur.image.formats import readable_suffixes
from faceblur.image.io import read_image
from faceblur.image.pixels import rgb8
from faceblur.video.frames import SourceFrame
from faceblur.video.kinds import VIDEO_SUFFIXES
from faceblur.video.source import VideoSource

FRAMES: Final = 128
"""Frames that are read, at most: some seconds of work, and enough to average over."""

ModelInput = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Frames as the network sees them.

    Attributes:
        source: Name of the folder or video they come from, without its folders.
        canvases: Each (H, W, 3) uint8 RGB, H and W multiples of the network's stride.
    """

    source: str
    canvases: tuple[ModelInput, ...]

    @property
    def sha256(self) -> str:
        """Hash over the frames, hexadecimal: the same frames in the same order give the same."""
        digest = hashlib.sha256()
        for canvas in self.canvases:
            digest.update(repr(canvas.shape).encode())
            digest.update(np.ascontiguousarray(canvas).data)
        return digest.hexdigest()


def read_calibration(
    source: Path, *, size: int = DEFAULT_SIZE, stride: int = 32, frames: int = FRAMES
) -> Calibration:
    """Take frames from a folder of images, with all folders in it, or from a video.

    At most `frames`, fitted to `size` pixels, are spread evenly over it; always the same.

    They are spread evenly over it. The same source gives the same frames.

    Raises:
        InputError: There is no image, or one cannot be read.
    """
    if source.is_dir():
        canvases = tuple(_of_folder(source, size=size, stride=stride, frames=frames))
    elif source.suffix.lower() in VIDEO_SUFFIXES:
        canvases = tuple(_of_video(source, size=size, stride=stride, frames=frames))
    else:
        raise InputError(
            f"cannot calibrate on {source}; give --calibration a folder of images or a video"
        )
    return Calibration(source.resolve().name, canvases)


def _of_folder(folder: Path, *, size: int, stride: int, frames: int) -> Iterator[ModelInput]:
    suffixes = readable_suffixes()
    images = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )
    if not images:
        raise InputError(f"{folder} holds no image to calibrate on; give frames of your cameras")
    for index in np.linspace(0, len(images) - 1, min(frames, len(images))):
        page = next(read_image(images[round(index)]).pages)
        height, width = page.pixels.shape[:2]
        yield Letterbox.plan(width, height, size=size, stride=stride).apply(rgb8(page.pixels))


def _of_video(video: Path, *, size: int, stride: int, frames: int) -> Iterator[ModelInput]:
    with VideoSource(video) as source:
        letterbox = plan_model_input(source.properties, size=size, stride=stride)
        canvas_of = ModelInputMaker(source.properties, letterbox)
        step = max(1, (source.frame_count or 0) // frames)
        images = (frame for frame in source.read() if isinstance(frame, SourceFrame))
        for frame in islice(images, 0, step * frames, step):
            yield canvas_of(frame.image)
