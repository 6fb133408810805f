"""The slice of the training data that is never trained on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import PurePath

from faceblur_export.data.labelled_image import LabelledPicture

HELD_OUT_OF = 20
"""One picture in so many is held out."""


def is_held_out(path: PurePath) -> bool:
    """Whether a picture is held out: by its file name, so wherever the folder lies.

    Copies of a picture under one name fall on the same side; a picture does not change sides when
    others are added.
    """
    return zlib.crc32(path.name.encode()) % HELD_OUT_OF == 0


def held_out(pictures: Sequence[LabelledPicture]) -> list[LabelledPicture]:
    """The pictures that are held out."""
    return [picture for picture in pictures if is_held_out(picture.path)]
