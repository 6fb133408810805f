"""Mask frames by a detector of one's own choice, for as long as it is wanted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from faceblur.detection.detect import detect as find_faces
from faceblur.detection.detector import ModelInfo
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD, DetectionOptions, Tiles
from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.detection.triton.connection import TLS, Transport
from faceblur.detections import Detections
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface


class Masked(NamedTuple):
    """A frame that is safe to pass on.

    Attributes:
        image: Copy of the frame with every face masked; same shape and dtype.
        detections: The faces, in pixels of the frame.

    Example:
        >>> safe = faceblur.blur(frame)
        >>> safe.image.shape == frame.shape, len(safe.detections) > 0
        (True, True)
    """

    image: npt.NDArray[Any]
    detections: Detections


class Blurrer:
    """Finds faces in frames and masks them; a context manager, safe to call from threads.

    Made by `connect`.

    Example:
        >>> with faceblur.connect() as blur:
        ...     safe = [blur(each).image for each in (frame, frame)]
        >>> len(safe)
        2
    """

    def __init__(
        self, session: DetectionSession, *, masker: Masker, options: DetectionOptions
    ) -> None:
        self._session = session
        self._masker = masker
        self._options = options

    @property
    def model(self) -> ModelInfo:
        """The model that finds the faces."""
        return self._session.model

    def __call__(self, frame: npt.NDArray[Any]) -> Masked:
        """Mask every face of a frame.

        Args:
            frame: (H, W, 3) BGR, (H, W, 4) BGRA or (H, W) grey; uint8 or uint16. Not changed.

        Returns:
            The masked copy and what was found. A frame that could not be checked is never
            returned.

        Raises:
            InputError: The array is not such an image.
            ServerError: It could not be checked for faces.
        """
        image = np.array(frame, order="C")
        surface = ArraySurface(image)
        detections = self.detect(frame)
        self._masker.apply(surface, detections)
        return Masked(image, detections)

    def detect(self, frame: npt.NDArray[Any]) -> Detections:
        """Only find the faces, in pixels of the frame.

        Raises:
            InputError: The array is not an image.
            ServerError: It could not be checked for faces.
        """
        return find_faces(self._session.detector, frame, self._options)

    def close(self) -> None:
        """Close the connection, and stop an embedded server."""
        self._session.close()

    def __enter__(self) -> Blurrer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def connect(
    server: str | None = None,
    *,
    model: str | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    size: int = DEFAULT_SIZE,
    mask: MaskStyle | None = None,
    tls: TLS | None = None,
    deadline_s: float = 10.0,
    transport: Transport = "auto",
    tiles: Tiles = "auto",
) -> Blurrer:
    """Open a detector and mask frames with it.

    Args:
        server: host:port of a Triton server. None uses one on this machine, else starts an
            embedded one that lives as long as the result.
        model: Name of a model or path of an ONNX file; see `faceblur.detection.models.find`.
        threshold: Lowest score that counts as a face, 0-1.
        size: Longest side of the image given to the network, pixels.
        mask: What covers a face.
        tls: Encryption of the connection.
        deadline_s: Seconds that one view of a frame may take before it is an error.
        transport: How images travel to the server.
        tiles: "auto" detects large frames in parts too, so that small faces in them are found;
            "off" detects in the whole alone, in the time of one view.

    Raises:
        ServerError: No server could check a frame.
        ModelError: The model is not there.
        InputError: An argument cannot be used.

    Example:
        >>> with faceblur.connect(mask=faceblur.MaskStyle(mode="solid")) as blur:
        ...     len(blur(frame).detections) > 0
        True
    """
    options = DetectionOptions(threshold=threshold, size=size, tiles=tiles, deadline_s=deadline_s)
    masker = Masker(mask or MaskStyle())
    session = open_session(
        SessionOptions(
            server=server, model=model, tls=tls, deadline_s=deadline_s, transport=transport
        ),
        size=size,
    )
    return Blurrer(session, masker=masker, options=options)
