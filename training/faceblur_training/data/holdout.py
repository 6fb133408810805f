"""The slice of the training data that is never trained on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import PurePath

from faceblur_export.data.labelled_image import LabelledImage

HELD_OUT_OF = 20
"""One image in so many is held out."""


def is_held_out(path: PurePath) -> bool:
    """Whether an image is held out: by its file name, so wherever the folder lies.

    Copies of an image under one name fall on the same side; an image does not change sides when
    others are added.
    """
    return zlib.crc32(path.name.encode()) % HELD_OUT_OF == 0


def held_out(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """The images that are held out."""
    return [image for image in images if is_held_out(image.path)]
