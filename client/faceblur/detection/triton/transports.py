"""The ways in which a canvas travels to a Triton server."""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np
import numpy.typing as npt
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from faceblur.detection.detector import ModelInput
from faceblur.detection.triton.shared_memory import SharedMemoryPool, Slot
from faceblur.detections import Detections
from faceblur.errors import FaceblurError, ServerError

ROUNDS: Final = 5
"""Round trips of each way after the first, which opens connections and buffers."""

BUDGET_S: Final = 2.0
"""No further round begins after that; on a slow link the first ones tell enough."""

MARGIN: Final = 0.9
"""JPEG has to take less than this part of the time of pixels, which are exact."""

_TILES: Final = (3, 5)
"""The check image side by side to 384 × 640, the canvas of most cameras."""

Send = Callable[[npt.NDArray[np.uint8]], "Future[Detections]"]


logger = logging.getLogger(__name__)

TransportName = Literal["shm", "raw", "jpeg"]

PIXELS_ENSEMBLE: Final = "face_detection"
JPEG_ENSEMBLE: Final = "face_detection_jpeg"

JPEG_QUALITY: Final = 95
"""Of canvases sent as JPEG, with colour at full resolution.

Over both sets measured it loses least AP50, and a missed face weighs more than bytes: an
eighth of those of pixels is still sent. Halved colour saves a sixth of that and loses small faces.
The figures are in perf/results/transport.md.
"""

_SAMPLING: Final = {
    True: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    False: cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}
"""By whether colour has the full resolution."""


def _kept(failed: bool) -> None:
    """Nothing has to be given back."""


@dataclass(frozen=True)
class Payload:
    """Canvases, packed for one request.

    Attributes:
        inputs: Of the ensemble.
        done: To be called once, when the request is over; with whether it failed.
    """

    inputs: list[Any]
    done: Callable[[bool], None] = _kept


class RequestTransport(ABC):
    """Packs canvases for its ensemble; safe to call from several threads."""

    name: TransportName
    ensemble = PIXELS_ENSEMBLE

    @abstractmethod
    def pack(self, canvases: Sequence[ModelInput]) -> Payload:
        """Pack canvases of one shape, or copies of them.

        Raises:
            ServerError: They cannot be sent this way.
        """

    def close(self) -> None:  # noqa: B027  most hold nothing
        """Release what it holds."""


class RawTransport(RequestTransport):
    """Pixels inside the gRPC message."""

    name = "raw"

    def pack(self, canvases: Sequence[ModelInput]) -> Payload:
        """Put the pixels into the message."""
        images = _images(canvases)
        images.set_data_from_numpy(canvases[0][None] if len(canvases) == 1 else np.stack(canvases))
        return Payload([images])


class SharedMemoryTransport(RequestTransport):
    """Pixels in system shared memory, for a server on this machine; see `SharedMemoryPool`.

    Raises:
        ServerError: The server does not take shared memory, or this machine gives none.
    """

    name = "shm"

    def __init__(self, client: Any, *, timeout_s: float) -> None:
        self._slots = SharedMemoryPool(client, timeout_s=timeout_s)
        try:
            self._slots.give_back(self._slots.take([np.zeros((1,), np.uint8)]))
        except InferenceServerException as error:
            raise ServerError(f"it does not take shared memory ({error})") from error
        except OSError as error:
            raise ServerError(f"this machine gives no shared memory ({error.strerror})") from error
        self._without = RawTransport()
        self._is_short = False

    def pack(self, canvases: Sequence[ModelInput]) -> Payload:
        """Copy canvases into a region; where there is none, put them into the message."""
        try:
            slot = self._slots.take(canvases)
        except OSError as error:
            if not self._is_short:
                logger.warning(
                    "no shared memory is left (%s): images go through gRPC alone where it is "
                    "short, which takes longer",
                    error.strerror,
                )
            self._is_short = True
            return self._without.pack(canvases)
        images = _images(canvases)
        images.set_shared_memory(slot.name, len(canvases) * canvases[0].nbytes)
        return Payload([images], self._done(slot))

    def pack_each(self, canvas: ModelInput, *, timeout_s: float) -> Iterator[Payload]:
        """Pack a canvas once into each region that there is, anywhere in it.

        It is a small one, which fits into all. A user who has pointed the region's name at other
        memory cannot know where.
        """
        for slot in self._slots.each(timeout_s=timeout_s):
            offset = secrets.randbelow(slot.memory.nbytes - canvas.nbytes + 1)
            slot.memory[offset : offset + canvas.nbytes] = canvas.reshape(-1)
            images = _images([canvas])
            images.set_shared_memory(slot.name, canvas.nbytes, offset)
            yield Payload([images], self._done(slot))

    def _done(self, slot: Slot) -> Callable[[bool], None]:
        def done(failed: bool) -> None:
            if failed or slot.is_given_up:
                # Not from gRPC's own thread: dropping a region asks the server.
                threading.Thread(target=self._slots.retire, args=(slot,), daemon=True).start()
            else:
                self._slots.give_back(slot)

        return done

    def renew(self) -> None:
        """Drop the regions; the next images get new ones."""
        self._slots.renew()

    def close(self) -> None:
        """Drop the regions."""
        self._slots.close()


class JpegTransport(RequestTransport):
    """The canvas as a JPEG: a fraction of the bytes, for a little of the accuracy.

    The canvas, not the frame: its geometry stays exactly what the client has planned, and what
    the server resizes to is what came.
    """

    name = "jpeg"
    ensemble = JPEG_ENSEMBLE

    def pack(self, canvases: Sequence[ModelInput]) -> Payload:
        """Encode each canvas."""
        count = len(canvases)
        files = [[encode_jpeg(canvas)] for canvas in canvases]
        jpeg = grpcclient.InferInput("jpeg", [count, 1], "BYTES")
        jpeg.set_data_from_numpy(np.array(files, np.object_))
        size = grpcclient.InferInput("size", [count, 1], "INT32")
        size.set_data_from_numpy(np.full((count, 1), max(canvases[0].shape[:2]), np.int32))
        return Payload([jpeg, size])


def _images(canvases: Sequence[ModelInput]) -> Any:
    """The input for pixels, without any."""
    return grpcclient.InferInput("images", [len(canvases), *canvases[0].shape], "UINT8")


def encode_jpeg(
    canvas: npt.NDArray[np.uint8], *, quality: int = JPEG_QUALITY, full_colour: bool = True
) -> bytes:
    """Encode a canvas (H, W, 3) uint8 RGB, at a quality of 1-100.

    Without `full_colour` the resolution of colour is halved in both directions.

    Raises:
        ServerError: It is none.
    """
    # OpenCV would take other shapes too, and make something of them.
    if canvas.ndim != 3 or canvas.shape[2] != 3 or canvas.dtype != np.uint8:
        raise ServerError(f"a canvas of the shape {canvas.shape} is no image")
    try:
        image = cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR)
        sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _SAMPLING[full_colour])
        settings = [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling]
        good, encoded = cv2.imencode(".jpg", image, settings)
    except cv2.error as error:
        raise ServerError(f"a canvas cannot be encoded as JPEG: {error.err}") from error
    if not good:
        raise ServerError("a canvas cannot be encoded as JPEG; use --transport raw")
    return bytes(encoded)


def prefers_jpeg(*, raw_s: float, jpeg_s: float) -> bool:
    """Whether JPEG is clearly the faster way."""
    return jpeg_s < MARGIN * raw_s


def compare(
    raw: Send, jpeg: Send, image: npt.NDArray[np.uint8], *, deadline_s: float
) -> tuple[float, float]:
    """Send the check image, 128 × 128 RGB with a face, both ways in turn.

    Returns:
        Seconds there and back, as pixels and as JPEG: the best of all rounds but the first, as
        what else the machine does can only lengthen them; infinite when one failed, or came after
        the deadline.
    """
    sheet = np.ascontiguousarray(np.tile(image, (*_TILES, 1)))
    ways: tuple[tuple[Send, list[float]], ...] = ((jpeg, []), (raw, []))
    begun = time.monotonic()
    for number in range(1 + ROUNDS):
        for send, times in ways:
            if math.inf not in times:
                times.append(_round_trip(send, sheet, deadline_s))
        if number and time.monotonic() - begun > BUDGET_S:
            break
    jpeg_s, raw_s = (math.inf if math.inf in times else min(times[1:]) for _, times in ways)
    return raw_s, jpeg_s


def _round_trip(send: Send, sheet: npt.NDArray[np.uint8], deadline_s: float) -> float:
    begun = time.perf_counter()
    try:
        faces = send(sheet).result(deadline_s)
    except (FaceblurError, FutureTimeoutError):
        return math.inf
    # A way on which the faces get lost is none.
    return time.perf_counter() - begun if len(faces) else math.inf
