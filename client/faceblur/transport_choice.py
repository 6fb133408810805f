"""Which of two ways to a server is the faster one, measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from faceblur.detections import Detections
from faceblur.errors import FaceblurError

ROUNDS: Final = 5
"""Round trips of each way after the first, which opens connections and buffers."""

BUDGET_S: Final = 2.0
"""No further round begins after that; on a slow link the first ones tell enough."""

MARGIN: Final = 0.9
"""JPEG has to take less than this part of the time of pixels, which are exact."""

_TILES: Final = (3, 5)
"""The check picture side by side to 384 × 640, the canvas of most cameras."""

Send = Callable[[npt.NDArray[np.uint8]], "Future[Detections]"]


@dataclass(frozen=True)
class Comparison:
    """How long a picture took, there and back.

    Attributes:
        raw_s: As pixels, the best of all rounds; infinite when it failed.
        jpeg_s: The same as JPEG.
    """

    raw_s: float
    jpeg_s: float

    @property
    def prefers_jpeg(self) -> bool:
        """Whether JPEG is clearly the faster one."""
        return self.jpeg_s < MARGIN * self.raw_s


def compare(
    raw: Send, jpeg: Send, picture: npt.NDArray[np.uint8], *, deadline_s: float
) -> Comparison:
    """Send the check picture both ways in turn.

    Args:
        raw: Sends a canvas as pixels.
        jpeg: Sends it as JPEG.
        picture: The check picture, 128 × 128 RGB; it has a face.
        deadline_s: After that a picture counts as lost.
    """
    sheet = np.ascontiguousarray(np.tile(picture, (*_TILES, 1)))
    ways = {"jpeg": jpeg, "raw": raw}
    times: dict[str, list[float]] = {name: [] for name in ways}
    begun = time.monotonic()
    for number in range(1 + ROUNDS):
        for name, send in ways.items():
            if math.inf not in times[name]:
                times[name].append(_round_trip(send, sheet, deadline_s))
        if number and time.monotonic() - begun > BUDGET_S:
            break
    best = {name: _best(each) for name, each in times.items()}
    return Comparison(raw_s=best["raw"], jpeg_s=best["jpeg"])


def _best(times: list[float]) -> float:
    """The shortest after the first; infinite if one failed.

    What else the machine does can only lengthen a round trip.
    """
    return math.inf if math.inf in times else min(times[1:])


def _round_trip(send: Send, sheet: npt.NDArray[np.uint8], deadline_s: float) -> float:
    begun = time.perf_counter()
    try:
        faces = send(sheet).result(deadline_s)
    except (FaceblurError, FutureTimeoutError):
        return math.inf
    # A way on which the faces get lost is none.
    return time.perf_counter() - begun if len(faces) else math.inf
