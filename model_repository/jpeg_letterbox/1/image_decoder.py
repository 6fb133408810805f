"""Decode a JPEG and resize it, by OpenCV, or by Pillow where there is no OpenCV."""

from __future__ import annotations

import importlib
import io
from typing import Protocol

import letterboxing
import numpy as np
import numpy.typing as npt

RgbImage = npt.NDArray[np.uint8]

UNREADABLE = "the JPEG cannot be decoded"


class ImageDecoder(Protocol):
    """Decodes JPEGs whose header was checked; safe to call from several threads."""

    def read(self, data: bytes, source: tuple[int, int], resized: tuple[int, int]) -> RgbImage:
        """Decode an image as it is coded (no orientation mark turns it), and resize it.

        Args:
            data: The file.
            source: The width and height that its header names.
            resized: The width and height wanted.

        Returns:
            (h, w, 3) uint8 RGB.

        Raises:
            ValueError: It cannot be decoded.
        """


class OpenCVDecoder:
    """What the client resizes with too."""

    def __init__(self) -> None:
        """Import it.

        Raises:
            ImportError: It is not installed.
        """
        self._cv2 = importlib.import_module("cv2")
        self._cv2.setNumThreads(1)

    def read(self, data: bytes, source: tuple[int, int], resized: tuple[int, int]) -> RgbImage:
        """Decode and resize."""
        cv2 = self._cv2
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        except cv2.error as error:
            raise ValueError(UNREADABLE) from error
        if image is None or image.shape[1::-1] != source:
            raise ValueError(UNREADABLE)
        if source != resized:
            averages = letterboxing.averages(source[0], resized[0])
            how = cv2.INTER_AREA if averages else cv2.INTER_LINEAR
            image = cv2.resize(image, resized, interpolation=how)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


class PillowDecoder:
    """Resizes a little more softly than OpenCV."""

    def __init__(self) -> None:
        """Import it.

        Raises:
            ImportError: It is not installed.
        """
        self._image = importlib.import_module("PIL.Image")

    def read(self, data: bytes, source: tuple[int, int], resized: tuple[int, int]) -> RgbImage:
        """Decode and resize."""
        try:
            with self._image.open(io.BytesIO(data), formats=["JPEG"]) as opened:
                image = opened.convert("RGB")
        except (OSError, SyntaxError) as error:
            raise ValueError(UNREADABLE) from error
        if image.size != source:
            raise ValueError(UNREADABLE)
        if source != resized:
            averages = letterboxing.averages(source[0], resized[0])
            how = self._image.Resampling.BOX if averages else self._image.Resampling.BILINEAR
            image = image.resize(resized, how)
        return np.asarray(image, np.uint8)


def find_decoder() -> ImageDecoder:
    """The best decoder that is installed.

    Raises:
        ImportError: None is; the message says what to do.
    """
    kinds: tuple[type[ImageDecoder], ...] = (OpenCVDecoder, PillowDecoder)
    for kind in kinds:
        try:
            return kind()
        except ImportError:
            continue
    raise ImportError(
        "this server cannot decode JPEG: its Python has neither OpenCV nor Pillow; install "
        "opencv-python-headless there, or send pixels (--transport raw)"
    )
