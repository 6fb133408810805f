"""The people of an attack: one face each, and another rendition of it to recognise."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.detection.detect import detect
from faceblur.detection.detector import Detector
from faceblur.detection.options import DetectionOptions
from faceblur.errors import InputError
from faceblur.image.formats import readable_suffixes
from faceblur.image.io import read_image
from faceblur.image.pixels import BgrImage, rgb8
from faceblur.proof.attack.recognition import CHIP_PX, Recogniser

logger = logging.getLogger(__name__)

Box = npt.NDArray[np.float64]

MIN_SCORE = 0.6
"""A face of a gallery is one that the detector is sure of."""

MARGIN = 0.75
"""What is kept around a face, in parts of its height: room for a rendition to turn and shift."""

ASPECT = 0.75
"""Width of a crop to its height, for everybody: its shape must not tell who it is."""

EDGE = 0.05
"""How much of a face may lie outside the image, in parts of its height."""

SAME_PERSON = 0.45
"""Distance of vectors below which two clear faces are taken for one person, or one photo."""


@dataclass(frozen=True, eq=False)
class Identity:
    """One person.

    Attributes:
        photo: uint8 [h, w, 3] BGR, the face and what is around it.
        box: x0 y0 x1 y1 of the face in the photo.
    """

    name: str
    photo: BgrImage
    box: Box

    @property
    def height(self) -> float:
        """Height of the face in pixels."""
        return float(self.box[3] - self.box[1])

    def crop(self, height: int) -> BgrImage:
        """The face alone, cut out along its box's height.

        Returns:
            uint8 [height, ASPECT · height, 3] BGR.
        """
        return _cut(self.photo, self.box, height=height, turn=0, zoom=1, shift=(0, 0))

    def rendition(self, height: int, rng: np.random.Generator) -> BgrImage:
        """The face in another rendition of the photo, found and cut out a little differently.

        Turned by up to 5°, resampled twice, with another gamma and white balance, compressed as
        JPEG; the box is up to 3 % of the height away and up to 3 % larger or smaller.

        Returns:
            uint8 [height, ASPECT · height, 3] BGR.
        """
        between = _cut(
            self.photo,
            self.box,
            height=max(height, round(min(self.height, 1.4 * height))),
            turn=rng.uniform(-5, 5),
            zoom=rng.uniform(0.97, 1.03),
            shift=(rng.uniform(-0.03, 0.03), rng.uniform(-0.03, 0.03)),
        )
        width = round(ASPECT * height)
        small = cv2.resize(between, (width, height), interpolation=cv2.INTER_AREA)
        light = (small / 255.0) ** rng.uniform(0.8, 1.25) * rng.uniform(0.92, 1.08, 3)
        toned = np.rint(np.clip(light, 0, 1) * 255).astype(np.uint8)
        quality = int(rng.integers(60, 90))
        _, file = cv2.imencode(".jpg", toned, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.imdecode(file, cv2.IMREAD_COLOR).astype(np.uint8, copy=False)


def collect(
    inputs: Sequence[Path],
    detector: Detector,
    options: DetectionOptions,
    *,
    min_height: float,
) -> list[Identity]:
    """Find the people in images.

    Args:
        inputs: Images, and folders of them. A folder within a folder is one person: the
            largest face in it counts. Elsewhere every face is somebody else.
        detector: What finds them.
        options: How; the threshold is not less than `MIN_SCORE`.
        min_height: Faces that are less tall are left out, pixels.

    Raises:
        InputError: An input does not exist, or there is no face in any of them. A single
            image that cannot be read is left out.
        ServerError: Faces could not be detected.
    """
    options = replace(options, threshold=max(options.threshold, MIN_SCORE))
    people: list[Identity] = []
    for images, one_person in _groups(inputs):
        found = [
            face
            for path in images
            for face in _faces(path, detector, options)
            if face.height >= min_height
        ]
        if one_person:
            found = sorted(found, key=lambda face: face.height)[-1:]
        people.extend(found)
    if not people:
        raise InputError(
            f"no face of {min_height:g} px or more was found; give images of faces, or smaller "
            "--sizes"
        )
    # The largest first: where only some are taken, they can be measured at every size.
    return sorted(people, key=lambda face: -face.height)


def distinct(people: Sequence[Identity], recogniser: Recogniser, *, most: int) -> list[Identity]:
    """Take people in turn, without those who look like somebody before.

    That leaves out copies of a photo, other photos of a person, and some who are merely alike.
    """
    kept: list[Identity] = []
    vectors: list[npt.NDArray[np.float32]] = []
    for person in people:
        crop = person.crop(min(round(person.height), CHIP_PX))
        (vector,) = recogniser.describe([crop], aligned=True)
        if all(np.linalg.norm(other - vector) >= SAME_PERSON for other in vectors):
            kept.append(person)
            vectors.append(vector)
        if len(kept) == most:
            break
    return kept


def _groups(inputs: Sequence[Path]) -> Iterator[tuple[Sequence[Path], bool]]:
    """Images, and whether they are all of one person."""
    for path in inputs:
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name")
        if path.is_file():
            yield [path], False
            continue
        yield _images(path), False
        for folder in sorted(child for child in path.iterdir() if child.is_dir()):
            yield _images(folder), True


def _images(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in readable_suffixes()
    )


def _faces(path: Path, detector: Detector, options: DetectionOptions) -> Iterator[Identity]:
    """The faces of the first page that are in the image wholly."""
    try:
        pixels = next(iter(read_image(path).pages)).pixels
    except InputError as error:
        logger.warning("left out: %s", error)
        return
    bgr = np.ascontiguousarray(rgb8(pixels)[:, :, ::-1])
    found = detect(detector, bgr, options)
    for index, box in enumerate(found.boxes.astype(np.float64)):
        reach = EDGE * (box[3] - box[1])
        if (box[:2] < -reach).any() or (box[2:] > np.array(bgr.shape[1::-1]) + reach).any():
            continue
        margin = MARGIN * (box[3] - box[1])
        x0, y0 = np.floor(np.maximum(box[:2] - margin, 0)).astype(int)
        x1, y1 = np.ceil(box[2:] + margin).astype(int)
        photo = bgr[y0:y1, x0:x1].copy()
        yield Identity(f"{path.name}#{index}", photo, box - [x0, y0, x0, y0])


def _cut(
    photo: BgrImage,
    box: Box,
    *,
    height: int,
    turn: float,
    zoom: float,
    shift: tuple[float, float],
) -> BgrImage:
    """Cut a box out of a photo, turned about its centre (degrees), scaled to a height."""
    face = float(box[3] - box[1])
    x, y = (box[:2] + box[2:]) / 2 + np.multiply(shift, face)
    scale = zoom * height / face
    width = round(ASPECT * height)
    if scale < 1:
        # Pixels are averaged before they are left out.
        photo = cv2.GaussianBlur(photo, (0, 0), 0.5 / scale).astype(np.uint8, copy=False)
    onto = cv2.getRotationMatrix2D((float(x), float(y)), turn, scale)
    onto = onto + np.array([[0, 0, width / 2 - x], [0, 0, height / 2 - y]])
    cut = cv2.warpAffine(
        photo, onto, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return cut.astype(np.uint8, copy=False)
