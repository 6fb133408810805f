"""A face recogniser, to try what it can still tell: dlib's ResNet with its own weights."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.errors import ModelError, install_line
from faceblur.image.pixels import BgrImage

Embeddings = npt.NDArray[np.float32]

CHIP_PX = 150
"""Side of the square image that the network takes."""

PADDING = 0.25
"""Room around an aligned face, in parts of it, as the network was trained."""

BATCH = 16

_WORKING_PX = 200
"""Height that crops are brought to before landmarks are detected."""

_FOREHEAD = 0.22
"""Part of a detector's box above the square that the landmark model expects."""

_BOX_ON_CHIP = (12.0, -21.0, 134.0, 144.0)
"""x0 y0 x1 y1 of a detector's box on an aligned chip, on average; rounded from 36 portraits."""


class Recogniser(Protocol):
    """Turns cropped faces into vectors; the closer two are, the more alike the faces."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def describe(self, crops: Sequence[BgrImage], *, aligned: bool) -> Embeddings:
        """Describe faces.

        Args:
            crops: uint8 [h, w, 3] BGR, each cut out along a detector's box.
            aligned: Whether to detect landmarks and turn the face upright. Without them, as
                for a face that cannot be seen, the crop is placed where faces lie on average.

        Returns:
            (N, D) float32, to be compared by Euclidean distance.
        """


class DlibRecogniser:
    """dlib's face recognition ResNet (99.4 % on LFW) and its 5-point landmarks.

    An image that was seen before is not computed again: masks that show nothing are all alike.

    Raises:
        ModelError: dlib or its weights are not installed.
    """

    name = "dlib_face_recognition_resnet_model_v1"

    def __init__(self) -> None:
        dlib, folder = _load()
        self._dlib = dlib
        self._landmarks = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
        self._network = dlib.face_recognition_model_v1(str(folder / f"{self.name}.dat"))
        self._known: dict[bytes, npt.NDArray[np.float32]] = {}

    def describe(self, crops: Sequence[BgrImage], *, aligned: bool) -> Embeddings:
        """Describe faces; see `Recogniser.describe`."""
        chips = [self._align(crop) if aligned else _place(crop) for crop in crops]
        keys = [hashlib.sha256(chip.tobytes()).digest() for chip in chips]
        new = {key: chip for key, chip in zip(keys, chips, strict=True) if key not in self._known}
        waiting = list(new)
        for start in range(0, len(waiting), BATCH):
            batch = waiting[start : start + BATCH]
            vectors = self._network.compute_face_descriptor([new[key] for key in batch])
            self._known.update(zip(batch, np.asarray(vectors, np.float32), strict=True))
        return np.stack([self._known[key] for key in keys])

    def _align(self, crop: BgrImage) -> BgrImage:
        scale = _WORKING_PX / crop.shape[0]
        width = max(1, round(crop.shape[1] * scale))
        large = cv2.resize(crop, (width, _WORKING_PX), interpolation=cv2.INTER_CUBIC)
        rgb = cv2.cvtColor(large, cv2.COLOR_BGR2RGB)
        top = int(_WORKING_PX * _FOREHEAD)
        shape = self._landmarks(rgb, self._dlib.rectangle(0, top, width, top + width))
        return np.asarray(self._dlib.get_face_chip(rgb, shape, CHIP_PX, PADDING), np.uint8)


def _place(crop: BgrImage) -> BgrImage:
    x0, y0, x1, y1 = _BOX_ON_CHIP
    height, width = crop.shape[:2]
    # Borders are continued: how far a crop reaches must not tell one from another.
    onto = np.array([[(x1 - x0) / width, 0, x0], [0, (y1 - y0) / height, y0]])
    chip = cv2.warpAffine(
        crop, onto, (CHIP_PX, CHIP_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return cv2.cvtColor(chip, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _load() -> tuple[Any, Path]:
    # The package of the weights cannot be imported with a current setuptools: it is only found.
    weights = importlib.util.find_spec("face_recognition_models")
    if weights is None or weights.origin is None or importlib.util.find_spec("dlib") is None:
        raise ModelError(f"the attack needs a face recogniser; first run: {install_line('attack')}")
    # It has no type information: imported by name it is Any.
    return importlib.import_module("dlib"), Path(weights.origin).parent / "models"
