"""Where images and their label files lie in a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.errors import InputError

RgbImage = npt.NDArray[np.uint8]


SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
"""Image files that training opens."""

IMAGE_FOLDERS = ("images", "JPEGImages")
"""Folders whose images belong to the folder above, as YOLO and Pascal VOC have them."""


def images_below(folder: Path) -> list[Path]:
    """Every image in a folder and all folders in it."""
    return sorted(p for p in folder.rglob("*") if _is_image(p))


def own_images(folder: Path) -> list[Path]:
    """The images of a folder itself and of its `IMAGE_FOLDERS`."""
    own = [p for p in folder.iterdir() if _is_image(p)]
    for name in IMAGE_FOLDERS:
        if (folder / name).is_dir():
            own += images_below(folder / name)
    return sorted(own)


def label_files(
    folder: Path, images: Sequence[Path], *, suffix: str, beside: Sequence[str]
) -> dict[Path, Path]:
    """The label file of each image that has one.

    It has the stem of the image and lies beside it, or in a label folder under the same path
    as the image. Where only one image and one file share a stem, it may lie anywhere below.
    """
    places = [folder, *(folder / name for name in (*IMAGE_FOLDERS, *beside))]
    files = {f for place in places if place.is_dir() for f in place.rglob(f"*{suffix}")}
    loose = _unique_stems(files)
    alone = _unique_stems(images)
    found = {}
    for image in images:
        path = image.relative_to(folder).with_suffix(suffix)
        if path.parts[0] in IMAGE_FOLDERS:
            path = path.relative_to(path.parts[0])
        near = [image.with_suffix(suffix), *(folder / name / path for name in beside)]
        if image.stem in alone and image.stem in loose:
            near.append(loose[image.stem])
        file = next((candidate for candidate in near if candidate in files), None)
        if file is not None:
            found[image] = file
    return found


def _is_image(path: Path) -> bool:
    # A Mac leaves `._name.jpg` in archives: no images.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._")


def _unique_stems(paths: Iterable[Path]) -> dict[str, Path]:
    known = list(paths)
    counts = Counter(path.stem for path in known)
    return {path.stem: path for path in known if counts[path.stem] == 1}


def open_image(path: Path) -> RgbImage:
    """Decode one image file to RGB, turned upright as its EXIF tag says; alpha is dropped.

    Viewers and labelling tools show images upright, so that is what labels were drawn on.

    Raises:
        InputError: It is missing, broken, or has channels that are not grey or colour.
    """
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    image = cv2.imdecode(raw, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH) if len(raw) else None
    if image is None:
        raise InputError(f"{path} is not an image that can be decoded; remove or replace it")
    if image.dtype == np.uint16:
        image = np.right_shift(image, 8).astype(np.uint8)
    channels = 1 if image.ndim == 2 else image.shape[2]
    conversions = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB}
    if channels not in conversions or image.dtype != np.uint8:
        raise InputError(
            f"{path} has {channels} channels of {image.dtype}; "
            "save it as grey or colour with 8 or 16 bits"
        )
    return np.asarray(cv2.cvtColor(image, conversions[channels]), np.uint8)
